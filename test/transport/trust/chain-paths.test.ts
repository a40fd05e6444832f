/** Chains that somebody else has made up: no key of theirs is used, and whatever path there is, is found. */
import type { KeyObject } from 'node:crypto';
import test from 'ava';
import type { MeshError } from '../../../src/errors.js';
import { MAX_CHAIN_BYTES } from '../../../src/transport/trust/chain-size.js';
import { TrustStore } from '../../../src/transport/trust/identity.js';
import {
  CA_EXTENSIONS,
  dnsName,
  ecKey,
  extension,
  type ForgedCa,
  type ForgeRequest,
  forge,
  forgeIntermediate,
  forgeRoot,
  isCa,
  named,
  names,
  rsaKey,
  type Signer,
  Signing,
  seq,
  slowKey,
  tlv,
  usage,
} from '../../helpers/x509-forge.js';

const leafKey = ecKey();
const root = forgeRoot('root');

function leafOf(issuer: Signer, changes: Partial<ForgeRequest> = {}): Buffer {
  const extensions = [names(dnsName('n3'))];
  return forge({ subject: named('n3'), key: leafKey, extensions, ...changes, issuer });
}

function verdict(trust: TrustStore, chain: readonly Buffer[]): string {
  try {
    return trust.verify(chain, 'dialer', Date.now()).nodeIds.join();
  } catch (thrown) {
    return (thrown as MeshError).code;
  }
}

/** Processor time of the fastest of several runs, in ms: other processes only add to it. */
function costOf(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round += 1) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/** A chain of 3,072-bit keys with exponents as long, each signed by the next as far as names say. */
function slowChain(top: Buffer): Buffer[] {
  const signature = Buffer.alloc(384, 1);
  const made = (subject: Buffer, issuer: Buffer, key: Buffer | KeyObject) =>
    forge({
      issuer: { name: issuer, key: leafKey },
      subject,
      key,
      signing: Signing.rsa,
      signature,
      extensions: key === leafKey ? [names(dnsName('n3'))] : CA_EXTENSIONS,
    });
  const links = Array.from({ length: 6 }, (_, at) =>
    made(named(`e${at}`), at === 5 ? top : named(`e${at + 1}`), slowKey()),
  );
  return [made(named('evil'), named('e0'), leafKey), ...links];
}

test('a chain of slow keys costs no more than one of quick keys, wherever its names lead', (t) => {
  const trust = new TrustStore(root.pem);
  for (const top of [named('nowhere'), root.name]) {
    const slow = slowChain(top);
    // The same again with keys that take a thousandth of the time.
    let issuer: Signer = { name: top, key: leafKey };
    const quick: Buffer[] = [];
    for (let at = 5; at >= 0; at -= 1) {
      const link = forgeIntermediate(issuer, `e${at}`);
      quick.unshift(link.der);
      issuer = link;
    }
    quick.unshift(leafOf(issuer));
    t.is(verdict(trust, slow), 'CertificateUntrusted');
    t.is(verdict(trust, quick), 'CertificateUntrusted');
    const slowMs = costOf(() => void verdict(trust, slow));
    const quickMs = costOf(() => void verdict(trust, quick));
    // One signature of these takes 8 ms and more.
    t.true(slowMs < 4 * quickMs + 2, `${slowMs} ms, and ${quickMs} ms`);
  }
});

test('of signatures that are wrong, few are checked', (t) => {
  const strong = forgeRoot('root', CA_EXTENSIONS, ecKey('secp521r1'));
  const trust = new TrustStore(strong.pem);
  const forger = { name: strong.name, key: leafKey };
  const chain = [leafOf(forger)];
  while (chain.length < 16) {
    chain.push(
      forge({ issuer: forger, subject: root.name, key: leafKey, extensions: CA_EXTENSIONS }),
    );
  }
  const single = [leafOf(forger)];
  for (const each of [chain, single]) t.is(verdict(trust, each), 'CertificateUntrusted');
  const many = costOf(() => void verdict(trust, chain));
  const one = costOf(() => void verdict(trust, single));
  t.true(many < 4 * one + 2, `${many} ms, and ${one} ms`);
});

test('a trusted CA is found behind others of its name, and behind cross-signed ones', (t) => {
  const [a, b] = [forgeRoot('A'), forgeRoot('B')];
  const key = ecKey();
  const byA = forgeIntermediate(a, 'inter', { key });
  const byB = forgeIntermediate(b, 'inter', { key });
  const leaf = leafOf(byA);
  const trust = new TrustStore(b.pem);
  t.is(verdict(trust, [leaf, byA.der, byB.der]), 'n3');
  t.is(verdict(trust, [leaf, byB.der, byA.der]), 'n3');
  t.is(verdict(trust, [leaf, byA.der]), 'CertificateUntrusted');

  // No key identifiers tell these apart.
  const twins = Array.from({ length: 6 }, () => forgeRoot('twin'));
  const all = new TrustStore(twins.map(({ pem }) => pem).join(''));
  for (const twin of twins) t.is(verdict(all, [leafOf(twin)]), 'n3');
  const [old, fresh] = [forgeIntermediate(b, 'renewed'), forgeIntermediate(b, 'renewed')];
  t.is(verdict(trust, [leafOf(fresh), old.der, fresh.der]), 'n3');
});

test('names are the same in another string type, in capitals and with more spaces', (t) => {
  const issuer = forgeIntermediate(root, 'The  CA ');
  const trust = new TrustStore(root.pem);
  for (const name of [named('the ca'), named('THE CA', 0x13), named(' The CA', 0x16)]) {
    t.is(verdict(trust, [leafOf({ name, key: issuer.key }), issuer.der]), 'n3');
  }
  for (const name of [named('the c\u{212a}'), named('theca'), named('the ca', 0x04)]) {
    t.is(verdict(trust, [leafOf({ name, key: issuer.key }), issuer.der]), 'CertificateUntrusted');
  }
});

const NO_CAS: Record<string, readonly Buffer[]> = {
  'no extensions': [],
  'CA:FALSE': [extension('551d13', seq(), true), usage(0x06)],
  'key usage and no basicConstraints': [usage(0x06)],
  'no keyCertSign': [isCa(), usage(0x02)],
};

for (const [title, extensions] of Object.entries(NO_CAS)) {
  test(`with ${title} nothing is issued, and a root is InvalidOptions`, (t) => {
    const issuer = forgeIntermediate(root, 'inter', { extensions });
    const trust = new TrustStore(root.pem);
    t.is(verdict(trust, [leafOf(issuer), issuer.der]), 'CertificateUntrusted');
    for (const ca of [forgeRoot('other', extensions), issuer]) {
      const error = t.throws<MeshError>(() => new TrustStore(root.pem + ca.pem));
      t.is(error?.code, 'InvalidOptions');
      t.regex(error?.message ?? '', /may not issue/);
    }
  });
}

test("a root's path length holds", (t) => {
  const short = forgeRoot('short', [isCa(0n), usage(0x06)]);
  const below = forgeIntermediate(short, 'below');
  const trust = new TrustStore(short.pem);
  t.is(verdict(trust, [leafOf(short)]), 'n3');
  t.is(verdict(trust, [leafOf(below), below.der]), 'CertificateUntrusted');
});

const WEAK: Record<string, readonly [ForgedCa, Partial<ForgeRequest>]> = {
  'ECDSA with SHA-1': [root, { signing: Signing.ecdsaSha1 }],
  'RSA with SHA-1': [forgeRoot('rsa', CA_EXTENSIONS, rsaKey()), { signing: Signing.rsaSha1 }],
  'RSA with MD5': [forgeRoot('rsa', CA_EXTENSIONS, rsaKey()), { signing: Signing.rsaMd5 }],
  'RSA of 1,024 bits': [root, { key: rsaKey(1024) }],
  'P-192': [root, { key: ecKey('prime192v1') }],
  'an exponent as long as the modulus': [root, { key: slowKey() }],
  'RSA of 16,384 bits': [root, { key: longKey() }],
};

/** The numbers do not matter, and would take a minute to find. */
function longKey(): Buffer {
  const key = seq(tlv(0x02, Buffer.alloc(2048, 0x7f)), tlv(0x02, Buffer.of(1, 0, 1)));
  return seq(
    seq(tlv(0x06, Buffer.from('2a864886f70d010101', 'hex'))),
    tlv(0x03, Buffer.of(0), key),
  );
}

for (const [title, [ca, changes]] of Object.entries(WEAK)) {
  test(`${title} is CertificateInvalid, of a leaf and of an intermediate`, (t) => {
    const trust = new TrustStore(ca.pem);
    t.is(verdict(trust, [leafOf(ca, changes)]), 'CertificateInvalid');
    const name = named('inter');
    const der = forge({
      extensions: CA_EXTENSIONS,
      key: leafKey,
      ...changes,
      issuer: ca,
      subject: name,
    });
    t.is(verdict(trust, [leafOf({ name, key: leafKey }), der]), 'CertificateInvalid');
  });
}

test('a chain is as large as it may be, and no larger', (t) => {
  // Its signatures have one length.
  const ca = forgeRoot('rsa', CA_EXTENSIONS, rsaKey());
  const trust = new TrustStore(ca.pem);
  const padded = (bytes: number) =>
    leafOf(ca, { extensions: [names(dnsName('n3')), extension('2a0304', Buffer.alloc(bytes))] });
  const spare = MAX_CHAIN_BYTES - padded(10_000).length;
  t.is(verdict(trust, [padded(10_000 + spare)]), 'n3');
  t.is(verdict(trust, [padded(10_001 + spare)]), 'CertificateInvalid');
  const [leaf, other] = [
    padded(8000),
    forgeRoot('else', [...CA_EXTENSIONS, extension('2a0304', Buffer.alloc(8000))]),
  ];
  t.is(verdict(trust, [leaf, other.der]), 'CertificateInvalid');
});

test('names and constraints are bounded, each and together', (t) => {
  const trust = new TrustStore(root.pem);
  const many = (count: number) => Array.from({ length: count }, (_, at) => dnsName(`m${at % 10}`));
  t.is(verdict(trust, [leafOf(root, { extensions: [names(...many(2048))] })]).slice(0, 5), 'm0,m1');
  t.is(
    verdict(trust, [leafOf(root, { extensions: [names(...many(2049))] })]),
    'CertificateInvalid',
  );
  const excluded = (count: number) => {
    const subtrees = Array.from({ length: count }, () => seq(dnsName('zzzz')));
    return extension('551d1e', seq(tlv(0xa1, ...subtrees)), true);
  };
  const limited = (count: number) =>
    forgeIntermediate(root, 'limited', { extensions: [...CA_EXTENSIONS, excluded(count)] });
  const cases: readonly (readonly [constraints: number, names: number, code: string])[] = [
    [100, 600, 'm0'],
    [200, 600, 'CertificateInvalid'],
    [512, 20, 'm0'],
    // It cannot be read, and so leads nowhere.
    [513, 20, 'CertificateUntrusted'],
  ];
  for (const [constraints, count, code] of cases) {
    const ca = limited(constraints);
    const leaf = leafOf(ca, { extensions: [names(...many(count))] });
    t.is(verdict(trust, [leaf, ca.der]).split(',')[0], code, `${constraints} and ${count}`);
  }
});
