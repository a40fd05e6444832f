/** Keys that protect QUIC packets (RFC 9001, sections 5.1 and 5.2), derived with nothing but HMAC. */
import { createHmac } from 'node:crypto';

export type CipherSuite = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

export interface PacketKeys {
  readonly suite: CipherSuite;
  readonly key: Buffer;
  readonly iv: Buffer;
  /** Protects the header. */
  readonly hp: Buffer;
}

const SUITES = {
  'aes-128-gcm': { hash: 'sha256', keyBytes: 16 },
  'aes-256-gcm': { hash: 'sha384', keyBytes: 32 },
  'chacha20-poly1305': { hash: 'sha256', keyBytes: 32 },
} as const;

const IV_BYTES = 12;
const SHA256_BYTES = 32;
const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');

/** The secrets that everyone knows who sees the client's first destination connection ID. */
export function initialSecrets(connectionId: Uint8Array): { client: Buffer; server: Buffer } {
  const secret = createHmac('sha256', INITIAL_SALT).update(connectionId).digest();
  return {
    client: expandLabel('sha256', secret, 'client in', SHA256_BYTES),
    server: expandLabel('sha256', secret, 'server in', SHA256_BYTES),
  };
}

export function packetKeys(secret: Uint8Array, suite: CipherSuite = 'aes-128-gcm'): PacketKeys {
  const { hash, keyBytes } = SUITES[suite];
  return {
    suite,
    key: expandLabel(hash, secret, 'quic key', keyBytes),
    iv: expandLabel(hash, secret, 'quic iv', IV_BYTES),
    hp: expandLabel(hash, secret, 'quic hp', keyBytes),
  };
}

/** HKDF-Expand-Label of TLS 1.3 with an empty context, for at most one block of the hash. */
function expandLabel(
  hash: 'sha256' | 'sha384',
  secret: Uint8Array,
  label: string,
  bytes: number,
): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, bytes, name.length]), name, Buffer.from([0, 1])]);
  return createHmac(hash, secret).update(info).digest().subarray(0, bytes);
}
