/** Both ends come to the same root: of plain chains, of chains with intermediates, and while CAs are replaced. */
import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { Knocks } from '../../../src/transport/admission/knocks.js';
import { type KnockRoots, knockRoots } from '../../../src/transport/trust/knock-roots.js';
import { OpensslPki } from '../../helpers/openssl-pki.js';

const CA = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign';
const NOW = 1_700_000_000_000;

let pki: OpensslPki;
test.before(async () => {
  pki = await OpensslPki.create();
  await pki.certificate({ name: 'A', extensions: CA });
  // The same name and key: whatever A has signed leads to both.
  await pki.certificate({ name: 'A2', key: 'A', subject: '/CN=A', extensions: CA });
  await pki.certificate({ name: 'B', extensions: CA });
  await pki.certificate({ name: 'inter', issuer: 'A', extensions: CA });
  await pki.certificate({ name: 'a', issuer: 'A', extensions: 'subjectAltName=DNS:a' });
  await pki.certificate({ name: 'i', issuer: 'inter', extensions: 'subjectAltName=DNS:i' });
  await pki.certificate({ name: 'b', issuer: 'B', extensions: 'subjectAltName=DNS:b' });
});
test.after.always(() => pki.close());

/** A node with these certificates. */
async function nodeWith(ca: readonly string[], cert: readonly string[]) {
  const roots = knockRoots({ ca: await pki.bundle(ca), cert: await pki.bundle(cert) });
  const common = { transport: 'quic', cluster: 'demo', nodeIds: ['n2'], secrets: [] } as const;
  return { roots, knocks: new Knocks({ ...common, roots }) };
}

function namesOf(roots: KnockRoots['own']): string[] {
  return roots.map((der) => new X509Certificate(Buffer.from(der)).subject.slice('CN='.length));
}

interface Case {
  readonly title: string;
  readonly dialer: readonly [ca: readonly string[], cert: readonly string[]];
  readonly own: readonly string[];
  readonly listenerCa: readonly string[];
  /** Which of the dialer's keys the listener takes. */
  readonly taken: readonly boolean[];
}

const CASES: readonly Case[] = [
  {
    title: 'a leaf of the root',
    dialer: [['A'], ['a']],
    own: ['A'],
    listenerCa: ['A'],
    taken: [true],
  },
  {
    title: 'a leaf of an intermediate',
    dialer: [['A'], ['i', 'inter']],
    own: ['A'],
    listenerCa: ['B', 'A'],
    taken: [true],
  },
  {
    title: 'an intermediate that stands in the bundle',
    dialer: [['A', 'inter'], ['i']],
    own: ['A'],
    listenerCa: ['A', 'inter'],
    taken: [true],
  },
  {
    title: 'the new CA is trusted, but has not issued the dialer its certificate yet',
    dialer: [['B', 'A'], ['a']],
    own: ['A'],
    listenerCa: ['A'],
    taken: [true],
  },
  {
    title: 'the dialer has its new certificate, and the listener trusts both CAs',
    dialer: [['A', 'B'], ['b']],
    own: ['B'],
    listenerCa: ['A', 'B'],
    taken: [true],
  },
  {
    title: 'a root and its renewal, where the listener has the renewal only',
    dialer: [['A', 'A2'], ['a']],
    own: ['A', 'A'],
    listenerCa: ['A2'],
    taken: [false, true],
  },
  {
    title: 'a root that the dialer does not trust, but sends along',
    dialer: [['B'], ['a', 'A']],
    own: ['A'],
    listenerCa: ['A'],
    taken: [true],
  },
  {
    title: 'a chain that ends in no root the dialer knows',
    dialer: [['A', 'B'], ['i']],
    own: ['A', 'B'],
    listenerCa: ['B'],
    taken: [false, true],
  },
  {
    title: 'no certificate at all',
    dialer: [['A'], []],
    own: ['A'],
    listenerCa: ['A'],
    taken: [true],
  },
  {
    title: 'another CA, and no root in common',
    dialer: [['B'], ['b']],
    own: ['B'],
    listenerCa: ['A'],
    taken: [false],
  },
  {
    title: 'an intermediate is nobody to knock by',
    dialer: [['A'], ['i', 'inter']],
    own: ['A'],
    listenerCa: ['inter', 'B'],
    taken: [false],
  },
];

for (const { title, dialer, own, listenerCa, taken } of CASES) {
  test(title, async (t) => {
    const { roots, knocks } = await nodeWith(...dialer);
    t.deepEqual(namesOf(roots.own), own);
    const listener = await nodeWith(listenerCa, []);
    t.is(knocks.choices, taken.length);
    for (const [choice, isTaken] of taken.entries()) {
      // Choices go round in a circle.
      for (const turn of [choice, choice + taken.length]) {
        const knock = knocks.create('n2', turn, NOW, Buffer.alloc(8, choice));
        t.is(listener.knocks.verify(knock, NOW) !== undefined, isTaken);
      }
    }
  });
}

test('with secrets the certificates do not matter: the first one knocks, and all are taken', async (t) => {
  const { roots } = await nodeWith(['A'], ['a']);
  const of = (...secrets: string[]) =>
    new Knocks({ transport: 'quic', cluster: 'demo', nodeIds: ['n2'], secrets, roots });
  const knockBy = (knocks: Knocks) => knocks.create(undefined, 0, NOW, Buffer.alloc(8));
  const [byOld, byNew, byCa] = [knockBy(of('old')), knockBy(of('new', 'old')), knockBy(of())];
  const takes = (knocks: Knocks) =>
    [byOld, byNew, byCa].map((knock) => knocks.verify(knock, NOW) !== undefined);
  t.deepEqual(takes(of('old')), [true, false, false]);
  t.deepEqual(takes(of('old', 'new')), [true, true, false]);
  t.deepEqual(takes(of('new')), [false, true, false]);
  t.deepEqual(takes(of()), [false, false, true]);
});
