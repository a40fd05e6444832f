/** The binding's configuration: every limit is set here, because many default to zero. */
import { MeshError } from '../../../errors.js';
import { ALPN_PROTOCOL, type StreamLimits, type TlsMaterial } from '../../connection.js';
import { tlsInputOf } from '../../trust/tls-material.js';
import type { NativeConfig, NativeQuic } from './native.js';

/** What a QUIC transport may be told besides certificates. */
export interface QuicTuning {
  readonly limits: StreamLimits;
  readonly idleTimeoutMs: number;
  /** Largest datagram that may be sent, in bytes of UDP payload: see `path-mtu.ts`. */
  readonly maxDatagramBytes: number;
  /** Encrypts this side's session tickets. With it sessions are resumed, and early data is sent and taken. */
  readonly ticketKey?: Uint8Array | undefined;
  /** Whether connections may log their secrets. */
  readonly logsKeys?: boolean | undefined;
  /** Whether connections may change their paths. Default true. */
  readonly migration?: boolean | undefined;
  /** Whether the binding keeps a pacer's clock: see `pacer-clocks.ts`. Default false. */
  readonly paces?: boolean | undefined;
  /** Default `'cubic'`. */
  readonly congestionControl?: CongestionControl | undefined;
}

/** The algorithms that quiche has. */
export type CongestionControl = 'cubic' | 'reno' | 'bbr';

/** Loopback carries 65,535; beyond this size bulk does not get faster. */
export const LOOPBACK_DATAGRAM_BYTES = 16_000;
/**
 * Left out of the transport parameters, which then means 65,527: all that UDP carries (RFC 9000, section 18.2). quiche
 * 0.18.0 has 128 bytes for them all, and after a Retry each counts: see `QuicEndpoint`.
 */
const ANY_RECEIVED_DATAGRAM = 0;
/**
 * The binding takes the largest datagram for the unit of its congestion window, and for what bounds a DATAGRAM frame, with
 * more room for headers than they take. How large a datagram is, its memory decides.
 */
const SPARE_BYTES = 8;
/** Probes of the peer that wait to be read: one is sent at a time. */
const RECEIVED_PROBES = 1;
const SENT_PROBES = 1;
/** The largest UDP payload that there can be. */
const MAX_DATAGRAM_BYTES = 65_527;
/** Paths of a connection, and connection IDs for them at either end. */
export const MAX_PATHS = 32;
/** RFC 9000, section 18.2. */
const MIN_CONNECTION_IDS = 2;
/**
 * QUIC's credit for a connection as a whole would let one reader that pauses hold up all other streams: once the first
 * of it is used quiche 0.18.0 grants 72 KB beyond what was read, and one stream may have more than that unread. What
 * waits in all is bounded here: see `PeerGuards`.
 */
const UNLIMITED_BYTES = 2 ** 50;
/** Cancellation notices: see `control-stream.ts`. */
const CONTROL_WINDOW_BYTES = 64 * 1024;

/** The signature algorithms of TLS 1.3 that BoringSSL has. */
const SIGNATURE_ALGORITHMS = [
  'ecdsa_secp256r1_sha256',
  'ecdsa_secp384r1_sha384',
  'ecdsa_secp521r1_sha512',
  'ed25519',
  'rsa_pss_rsae_sha256',
  'rsa_pss_rsae_sha384',
  'rsa_pss_rsae_sha512',
].join(':');

/**
 * A configuration that serves every connection of an endpoint, dialed and accepted.
 * @throws MeshError InvalidOptions when certificates or key cannot be read
 */
export function createNativeConfig(
  native: NativeQuic,
  tls: TlsMaterial,
  tuning: QuicTuning,
): NativeConfig {
  const config = withCertificates(native, tls);
  const { limits, migration = true, congestionControl = 'cubic', paces = false } = tuning;
  const { streamWindowBytes } = limits;
  config.setApplicationProtos([ALPN_PROTOCOL]);
  config.grease(true);
  config.setMaxIdleTimeout(tuning.idleTimeoutMs);
  config.setMaxRecvUdpPayloadSize(ANY_RECEIVED_DATAGRAM);
  const unitBytes = Math.min(tuning.maxDatagramBytes + SPARE_BYTES, MAX_DATAGRAM_BYTES);
  config.setMaxSendUdpPayloadSize(unitBytes);
  config.enableDgram(true, RECEIVED_PROBES, SENT_PROBES);
  config.setInitialMaxData(UNLIMITED_BYTES);
  config.setMaxConnectionWindow(UNLIMITED_BYTES);
  config.setInitialMaxStreamDataBidiLocal(streamWindowBytes);
  config.setInitialMaxStreamDataBidiRemote(streamWindowBytes);
  // Grows while the reader keeps up, so that a fast reader is not paced by the round trip.
  config.setMaxStreamWindow(Math.max(streamWindowBytes, limits.maxStreamWindowBytes));
  config.setInitialMaxStreamsBidi(limits.maxIncomingStreams);
  config.setInitialMaxStreamsUni(1);
  config.setInitialMaxStreamDataUni(CONTROL_WINDOW_BYTES);
  // The binding takes this limit for that of paths as well.
  config.setActiveConnectionIdLimit(migration ? MAX_PATHS : MIN_CONNECTION_IDS);
  config.setDisableActiveMigration(!migration);
  config.setCcAlgorithmName(congestionControl);
  // HyStart++ would take it for a growing queue that stamps lie less ahead of the time, and leave slow start early.
  config.enableHystart(!paces);
  config.enablePacing(paces);
  config.setAckDelayExponent(3);
  config.setMaxAckDelay(25);
  if (tuning.logsKeys === true) config.logKeys();
  if (tuning.ticketKey !== undefined) {
    config.setTicketKey(tuning.ticketKey);
    config.enableEarlyData();
  }
  return config;
}

/**
 * BoringSSL demands the peer's certificate, and has the peer prove that it has the key. It is given no CAs, and lets every
 * chain pass: the check that follows every handshake is the same on both transports.
 */
function withCertificates(native: NativeQuic, tls: TlsMaterial): NativeConfig {
  const { cert, key } = tlsInputOf(tls);
  try {
    return native.Config.withBoringSslCtx(
      true,
      true,
      null,
      [Buffer.from(key)],
      [Buffer.from(cert)],
      SIGNATURE_ALGORITHMS,
    );
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'tls certificates or key cannot be read', { cause });
  }
}
