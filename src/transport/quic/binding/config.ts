/** The binding's configuration: every limit is set here, because many default to zero. */
import { MeshError } from '../../../errors.js';
import { ALPN_PROTOCOL, type Role, type StreamLimits, type TlsMaterial } from '../../connection.js';
import { type TlsInput, tlsInputOf } from '../../trust/tls-material.js';
import {
  type CongestionControl,
  DEFAULT_INITIAL_WINDOW_BYTES,
  INITIAL_WINDOW_UNITS,
} from './congestion-control.js';
import type { NativeConfig, NativeQuic } from './native.js';

/** The settings of a native configuration besides certificates. */
export interface QuicTuning {
  readonly limits: StreamLimits;
  readonly idleTimeoutMs: number;
  /** What this side is in its connections. Default `'acceptor'`, which serves a dialer as well, at a higher price. */
  readonly role?: Role | undefined;
  /** Largest datagram that may be sent, in bytes of UDP payload: see `path-mtu.ts`. */
  readonly maxDatagramBytes: number;
  /** The key of this side's session tickets. Only with it, sessions are resumed, and early data is sent and accepted. */
  readonly ticketKey?: Uint8Array | undefined;
  /** Whether connections may log their secrets. */
  readonly logsKeys?: boolean | undefined;
  /** Whether connections may change their paths. Default true. */
  readonly migration?: boolean | undefined;
  /** Default {@link DEFAULT_INITIAL_WINDOW_BYTES}. Never less than ten of the largest datagrams. */
  readonly initialWindowBytes?: number | undefined;
  /** Whether the binding stamps packets with the time at which they are due; see `send-pacer.ts`. Default false. */
  readonly isPaced?: boolean | undefined;
  /** Default `'cubic'`. */
  readonly congestionControl?: CongestionControl | undefined;
}

/** Loopback carries 65,535 bytes, but bulk data gets no faster beyond this size. */
export const LOOPBACK_DATAGRAM_BYTES = 16_000;
/**
 * Leaves max_udp_payload_size out of the transport parameters, which means 65,527 (RFC 9000, section 18.2). quiche 0.18.0 has
 * only 128 bytes for all parameters; see `NativeConnections.accept`.
 */
const ANY_RECEIVED_DATAGRAM = 0;
/**
 * Added to the largest datagram, for the least unit of the congestion window. The binding takes that unit as the bound of a
 * DATAGRAM frame besides, for which it sets aside more than the headers need. The size of a datagram itself is bounded by the
 * memory that it is written into.
 */
const SPARE_BYTES = 8;
/** How many probes of the peer wait to be read. A side sends one at a time. */
const RECEIVED_PROBES = 1;
const SENT_PROBES = 1;
/** The largest UDP payload that there can be. */
const MAX_DATAGRAM_BYTES = 65_527;
/** How many paths, and connection IDs at either end, a connection may have. */
export const MAX_PATHS = 32;
/** The least active_connection_id_limit (RFC 9000, section 18.2). */
const MIN_CONNECTION_IDS = 2;
/**
 * QUIC's flow control for the whole connection is switched off: with it, one paused reader would hold up all other streams.
 * Once the first credit is used, quiche 0.18.0 grants 72 KB beyond what was read, and a single stream may have more than that
 * unread. `PeerGuards` bounds what waits in all.
 */
const UNLIMITED_BYTES = 2 ** 50;
/** The window of the control stream; see `control-stream.ts`. */
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
 * Creates a configuration that serves any number of connections, dialed and accepted.
 * @throws MeshError InvalidOptions when certificates or key cannot be read
 */
export function createNativeConfig(
  native: NativeQuic,
  tls: TlsMaterial,
  tuning: QuicTuning,
): NativeConfig {
  return nativeConfigOf(native, tlsInputOf(tls), tuning);
}

/** {@link createNativeConfig}, for those who make several of the same certificates. */
export function nativeConfigOf(
  native: NativeQuic,
  tls: TlsInput,
  tuning: QuicTuning,
): NativeConfig {
  const config = withCertificates(native, tls, tuning.role ?? 'acceptor');
  const { limits, migration = true, congestionControl = 'cubic' } = tuning;
  const { streamWindowBytes } = limits;
  config.setApplicationProtos([ALPN_PROTOCOL]);
  config.grease(true);
  config.setMaxIdleTimeout(tuning.idleTimeoutMs);
  config.setMaxRecvUdpPayloadSize(ANY_RECEIVED_DATAGRAM);
  config.setMaxSendUdpPayloadSize(unitBytesOf(tuning));
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
  // The binding takes this limit as that of paths, too.
  config.setActiveConnectionIdLimit(migration ? MAX_PATHS : MIN_CONNECTION_IDS);
  config.setDisableActiveMigration(!migration);
  config.setCcAlgorithmName(congestionControl);
  config.enableHystart(true);
  config.enablePacing(tuning.isPaced ?? false);
  config.setAckDelayExponent(3);
  config.setMaxAckDelay(25);
  if (tuning.logsKeys === true) config.logKeys();
  if (tuning.ticketKey !== undefined) {
    config.setTicketKey(tuning.ticketKey);
    config.enableEarlyData();
  }
  return config;
}

/** The unit of the congestion window, in bytes. */
function unitBytesOf({ maxDatagramBytes, initialWindowBytes }: QuicTuning): number {
  const windowBytes = initialWindowBytes ?? DEFAULT_INITIAL_WINDOW_BYTES;
  const leastBytes = maxDatagramBytes + SPARE_BYTES;
  const wantedBytes = Math.ceil(windowBytes / INITIAL_WINDOW_UNITS);
  return Math.min(Math.max(leastBytes, wantedBytes), MAX_DATAGRAM_BYTES);
}

/**
 * BoringSSL requires the peer's certificate, and a proof that the peer has its key. It gets no CAs and accepts every chain:
 * after every handshake this library's own check follows, which is the same on both transports.
 *
 * An acceptor has to tell BoringSSL that every failure is none, or it would refuse the dialer, and so it goes on to check signatures
 * with a stranger's keys. A dialer gets a certificate without asking, and a failure is not fatal to it: BoringSSL gives up at the
 * first one, that no CA is trusted, and checks nothing more.
 */
function withCertificates(native: NativeQuic, { cert, key }: TlsInput, role: Role): NativeConfig {
  const isAcceptor = role === 'acceptor';
  try {
    return native.Config.withBoringSslCtx(
      isAcceptor,
      isAcceptor,
      null,
      [Buffer.from(key)],
      [Buffer.from(cert)],
      SIGNATURE_ALGORITHMS,
    );
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'tls certificates or key cannot be read', { cause });
  }
}
