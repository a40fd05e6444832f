/**
 * Reads PEM texts (RFC 7468) as people have them: with a byte order mark, indented, or with other text around. The TLS libraries
 * get a newly written PEM, because each tolerates other mistakes, and skips what it cannot read.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { MeshError } from '../../errors.js';

/** Certificates of a PEM text, in order. @throws MeshError InvalidOptions for one that cannot be read */
export function parsePem(pem: string): X509Certificate[] {
  if (pem.includes('-----BEGIN TRUSTED CERTIFICATE-----')) {
    const text = 'TRUSTED CERTIFICATE is a format of OpenSSL alone: convert it with `openssl x509`';
    throw new MeshError('InvalidOptions', text);
  }
  const blocks = pem.split(/-----BEGIN (?:X509 )?CERTIFICATE-----/).slice(1);
  return blocks.map((block) => {
    const [, base64 = ''] =
      /^([A-Za-z0-9+/=\s]+)-----END (?:X509 )?CERTIFICATE-----/.exec(block) ?? [];
    try {
      return new X509Certificate(Buffer.from(base64, 'base64'));
    } catch (cause) {
      throw new MeshError('InvalidOptions', 'a certificate in PEM cannot be read', { cause });
    }
  });
}

/** Writes certificates in the form that every TLS library reads. */
export function formatPem(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join('');
}

/** The first private key of a PEM text. @throws MeshError InvalidOptions */
export function parseKey(pem: string): KeyObject {
  const block = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(pem);
  try {
    return createPrivateKey(withoutIndent(block?.[0] ?? pem));
  } catch {
    // No cause: its text might quote the key.
    throw new MeshError('InvalidOptions', 'tls.key cannot be read');
  }
}

/** Writes a private key in the form that every TLS library reads: PKCS #8. */
export function formatKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function withoutIndent(pem: string): string {
  return pem.replaceAll(/^[ \t]+/gm, '');
}
