/** Knows which certificates were revoked: by the options `tls.revoked` and `tls.crl`. */
import { MeshError } from '../../errors.js';
import { readOwn } from './anchors.js';
import type { CertificateFields } from './certificate-fields.js';
import { type Crl, crlKeyOf, newestOf } from './crl.js';
import { integerKey } from './der-reader.js';
import { nameText } from './distinguished-name.js';
import { fingerprintsOf, issuedKeyOf, keyDigestOf } from './fingerprints.js';
import { parsePem } from './pem.js';

/** A CRL whose signature was checked. */
interface SignedCrl {
  readonly crl: Crl;
  /** The CA's subject, for log lines. */
  readonly issuer: string;
}

/** Which certificates are not to be taken any more. */
export class Revocations {
  /** Fingerprints, serial numbers and digests of keys in hex, as {@link plainHex} writes it. */
  readonly #revoked: ReadonlySet<string>;
  /** What was revoked by its whole certificate: {@link issuedKeyOf}. */
  readonly #issued: ReadonlySet<string>;
  /** CRLs by the CA that signed them. */
  readonly #crls: ReadonlyMap<string, SignedCrl>;

  /**
   * @param revoked see TlsMaterial
   * @param cas those that may have signed the CRLs
   * @throws MeshError InvalidOptions when `revoked` has something else than hex and certificates, or a CRL is not signed by one of
   *   the CAs, or is dated in the future
   */
  constructor(revoked: readonly string[], crls: readonly Crl[], cas: readonly CertificateFields[]) {
    const certificates = revoked.filter(isPem).flatMap(readRevoked);
    this.#issued = new Set(certificates.map(issuedKeyOf));
    this.#revoked = new Set([
      ...revoked.filter((entry) => !isPem(entry)).map(parseHex),
      ...certificates.map(keyDigestOf).map(plainHex),
    ]);
    this.#crls = assignCrls(crls, cas);
  }

  /** CAs whose CRL should have been replaced by now. */
  outdatedCrls(
    nowMs: number,
  ): readonly { readonly issuer: string; readonly nextUpdateMs: number }[] {
    return [...this.#crls.values()].flatMap(({ issuer, crl: { nextUpdateMs } }) =>
      nextUpdateMs !== undefined && nextUpdateMs < nowMs ? [{ issuer, nextUpdateMs }] : [],
    );
  }

  /**
   * @param issuer the CA that has signed the certificate, as was proved
   * @throws MeshError CertificateRevoked
   */
  check(certificate: CertificateFields, issuer: CertificateFields): void {
    const serial = integerKey(certificate.serial);
    if (!this.#isRevoked(certificate, issuer, serial) && !this.#isListed(issuer, serial)) return;
    throw new MeshError('CertificateRevoked', `certificate ${serial.toUpperCase()} was revoked`);
  }

  #isRevoked(certificate: CertificateFields, issuer: CertificateFields, serial: string): boolean {
    if (this.#issued.size > 0 && this.#issued.has(issuedKeyOf(certificate))) return true;
    if (this.#revoked.size === 0) return false;
    const ids = [serial, keyDigestOf(certificate), ...fingerprintsOf(certificate, issuer)];
    return ids.some((id) => this.#revoked.has(plainHex(id)));
  }

  #isListed(issuer: CertificateFields, serial: string): boolean {
    if (this.#crls.size === 0) return false;
    return this.#crls.get(crlKeyOf(issuer))?.crl.serials.has(serial) ?? false;
  }
}

/** Finds the CA of each CRL. @throws MeshError InvalidOptions for a CRL that none of the CAs has signed */
function assignCrls(
  crls: readonly Crl[],
  cas: readonly CertificateFields[],
): ReadonlyMap<string, SignedCrl> {
  const assigned = new Map<string, { issuer: CertificateFields; crls: Crl[] }>();
  for (const crl of crls) {
    const issuer = cas.find((ca) => crl.isSignedBy(ca));
    if (issuer === undefined) {
      const text =
        'tls.crl has a CRL that none of the CAs in tls.ca and tls.cert has signed and may sign';
      throw new MeshError('InvalidOptions', text);
    }
    const key = crlKeyOf(issuer);
    const known = assigned.get(key);
    if (known === undefined) assigned.set(key, { issuer, crls: [crl] });
    else known.crls.push(crl);
  }
  const nowMs = Date.now();
  return new Map(
    [...assigned].map(([key, { issuer, crls: own }]) => {
      const crl = newestOf(own, nowMs) as Crl;
      return [key, { crl, issuer: nameText(issuer.subject) }];
    }),
  );
}

function isPem(entry: string): boolean {
  return entry.includes('-----BEGIN ');
}

function readRevoked(pem: string): readonly CertificateFields[] {
  const certificates = parsePem(pem);
  if (certificates.length === 0) {
    throw new MeshError('InvalidOptions', 'tls.revoked has a PEM text without a certificate');
  }
  return certificates.map((certificate) => readOwn(certificate, 'tls.revoked'));
}

function parseHex(text: string): string {
  const hex = plainHex(text);
  if (/^-?[0-9a-f]+$/.test(hex)) return hex;
  const shown = JSON.stringify(text.slice(0, 100));
  throw new MeshError('InvalidOptions', `tls.revoked: ${shown} is neither hex nor a certificate`);
}

/** Hex without separators and leading zeros. In serial numbers those mean nothing; fingerprints lose them on both sides. */
function plainHex(text: string): string {
  return text
    .replaceAll(/[:\s]/g, '')
    .toLowerCase()
    .replace(/^(-?)0+(?=.)/, '$1');
}
