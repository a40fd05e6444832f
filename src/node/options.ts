/** What users pass to `createNode`, checked once and resolved into one frozen config. Unknown keys are errors. */
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isBytes } from '../base/realms.js';
import { redactFields } from '../base/redact.js';
import { DEFAULT_RETRY, MAX_ATTEMPTS } from '../calls/outgoing/retry-policy.js';
import type { Authorize } from '../calls/session/authorize.js';
import type { RetryOptions } from '../calls/types.js';
import { isWireErrorCode, MeshError, type MeshErrorCode, toMeshError } from '../errors.js';
import { DEFAULT_BACKOFF } from '../pool/backoff.js';
import { DEFAULT_HEALTH } from '../pool/health.js';
import { DEFAULT_POOL_LIMITS } from '../pool/options.js';
import { STRATEGIES, type Strategy } from '../pool/select.js';
import type { CompressionName } from '../protocol/compression.js';
import { assertNodeIds } from '../protocol/node-id.js';
import type { LoggingOption } from '../telemetry/logging.js';
import {
  DEFAULT_STREAM_LIMITS,
  type TlsMaterial,
  TRANSPORT_NAMES,
  type Transport,
  type TransportName,
} from '../transport/connection.js';
import type { Discovery } from '../transport/dialing/discovery.js';
import type { AdmissionOptions } from '../transport/quic/admission/admission-policy.js';
import type { SessionStore } from '../transport/quic/resumption/sessions.js';

/** PEM texts, or where to get them: asked at the start and again by `reloadTls()`. */
export type TlsOption = TlsMaterial | (() => TlsMaterial | Promise<TlsMaterial>);

/** The connections that a node keeps to each peer that it dials. */
export interface NodePoolOptions {
  /** Connections to keep, 1 to 10. Default 1. */
  readonly min?: number | undefined;
  /** Connections to dial at most, 1 to 10. Default 1, or `min` if that is more. */
  readonly max?: number | undefined;
  /** Which connection takes the next call. Default `'leastLoaded'`. */
  readonly strategy?: Strategy | undefined;
  /** With so many calls under way on each, another connection is dialed, up to `max`. Default 64. */
  readonly growAtCalls?: number | undefined;
  /** Above `min`, a connection that was idle for so long is closed. Default 60,000. */
  readonly idleMs?: number | undefined;
}

/** How a node finds out that a peer is gone without a word. */
export interface NodeHealthOptions {
  /**
   * A peer that owes answers and is silent for so long is asked for a sign of life; each further interval without one
   * is a miss. Default 500.
   */
  readonly intervalMs?: number | undefined;
  /** With one miss a connection is suspect: others take its calls. With so many it is given up. Default 3. */
  readonly misses?: number | undefined;
}

/** When a lost peer is dialed again: exponential backoff with full jitter. */
export interface NodeReconnectOptions {
  /** The first delay is up to so long, each further one up to twice as long. Default 100. */
  readonly minDelayMs?: number | undefined;
  /** Default 30,000. */
  readonly maxDelayMs?: number | undefined;
  /** A connection that lasted so long makes the next delay the first again. Default 60,000. */
  readonly stableMs?: number | undefined;
}

/**
 * How large a message may be, how many connections and calls there may be, and how many bytes of messages calls may have
 * in flight. For the bytes, a call counts from when it leaves until it is answered; a one-way message and an answer count
 * until the transport has taken them.
 */
export interface NodeLimitOptions {
  /** Of one message, before compression. Default 16 MiB. */
  readonly messageBytes?: number | undefined;
  /** Calls that a peer may have under way on one connection. Default 1024. */
  readonly streams?: number | undefined;
  /** Connections in all, dialed and accepted. Beyond, none is dialed and dialers are refused. Default 4096. */
  readonly connections?: number | undefined;
  /** Connections that one peer may have dialed. Default 64. */
  readonly connectionsPerPeer?: number | undefined;
  /** Of one call, before its reader takes them: the largest window of a stream. Default 4 MiB, 1 MiB at least. */
  readonly callBytes?: number | undefined;
  /**
   * Of one connection, each way. Beyond, calls of this side wait, and the peer's are refused with Overloaded; urgent ones
   * (of class control) have a quarter more. Default 32 MiB, 16 MiB at least.
   */
  readonly connectionBytes?: number | undefined;
  /** The same of all connections of the node together. Default 256 MiB. */
  readonly nodeBytes?: number | undefined;
  /**
   * Calls of one peer that are handled at once, and as many urgent ones; others are refused with Overloaded. A call
   * counts until its handler is done, also where the peer has given it up. Default 1024.
   */
  readonly callsPerPeer?: number | undefined;
  /** Streams that a peer may open in a second on one connection, which is closed beyond. Default 200,000. */
  readonly streamOpensPerSecond?: number | undefined;
  /** The same of streams that it resets. Default 10,000. */
  readonly streamResetsPerSecond?: number | undefined;
}

/** When calls are made again that bring no `retry` of their own, and how often in all. */
export interface NodeRetryOptions extends RetryOptions {
  /**
   * For each peer: further attempts in reserve, which are there at the start. Without one left, a call fails with what
   * its last attempt failed with. Attempts of calls that never left this node take none. Default 1000.
   */
  readonly budget?: number | undefined;
  /** So much of an attempt each call adds to the reserve, up to `budget`. Default 0.2. */
  readonly budgetRatio?: number | undefined;
}

/** What peers need beside a certificate. */
export interface NodeAuthOptions {
  /** A secret of the cluster, at most 1024 characters. Dialed peers see it. Without `verify`, dialers must show the same. */
  readonly token?: string | undefined;
  /**
   * Decides synchronously whether a dialer's token is accepted: `true` accepts it, anything else, an error included,
   * refuses it. Compare secrets with `sameToken`, which takes constant time.
   * @param nodeId the dialer, as its certificate proves
   */
  readonly verify?: ((token: string | undefined, nodeId: string) => boolean) | undefined;
  /** Asked before the handler for every call of a peer, ping excepted. Default: every call is allowed. */
  readonly authorize?: Authorize | undefined;
}

/** How long the node waits. */
export interface NodeTimeoutOptions {
  /** For one transport to connect. Default 5000. */
  readonly connectMs?: number | undefined;
  /** For the next transport to start beside one that has not connected yet. Default 200. */
  readonly fallbackDelayMs?: number | undefined;
  /** For the handshake of quicmesh, once the transport is connected. Default 5000. */
  readonly handshakeMs?: number | undefined;
  /** For any datagram on a QUIC connection, which is dead without one. Default 30,000. */
  readonly idleMs?: number | undefined;
  /** After so long a silence the transport asks its peer for a sign of life. Default 10,000. */
  readonly keepAliveMs?: number | undefined;
  /** For calls under way when the node closes. Default 5000. */
  readonly drainMs?: number | undefined;
}

/** What only QUIC has. */
export interface NodeQuicOptions {
  /** Forbids every other transport, whatever `transports` says, and leaves the others alone. Default false. */
  readonly required?: boolean | undefined;
  /**
   * Largest datagram, in bytes of UDP payload, 1,200 to 65,527. `'auto'`, the default, asks the path: from 1,200 up to
   * what the interface takes. A number is taken without asking, and left only where the path swallows such datagrams.
   */
  readonly maxDatagramBytes?: number | 'auto' | undefined;
  /**
   * Whether connections resume those before them, and calls that are `replaySafe` may leave, and are run, as 0-RTT data.
   * Default true.
   */
  readonly earlyData?: boolean | undefined;
  /** Where sessions to resume are kept, which hold secrets. Default: in memory. */
  readonly sessionStore?: SessionStore | undefined;
  /** How long one key encrypts the tickets that peers resume by. Default 12 hours. */
  readonly ticketKeyLifetimeMs?: number | undefined;
  /**
   * Whether connections may change their paths: follow a peer whose address changes, and move when this node's own does.
   * Default true.
   */
  readonly migration?: boolean | undefined;
  /** Default `'cubic'`. */
  readonly congestionControl?: 'cubic' | 'reno' | 'bbr' | undefined;
}

/** When a connection that this node dialed is replaced by another. Calls under way end on the old one. */
export interface NodeRenewalOptions {
  /** After so many streams. Default 4,000,000. */
  readonly afterStreams?: number | undefined;
  /** Or after so much time, up to a tenth less. Default 24 hours. */
  readonly afterMs?: number | undefined;
}

/** How messages are compressed. Bulk transfers are not. */
export interface NodeCompressionOptions {
  /** What to offer peers, best first. Default `['lz4', 'zstd']`; `[]` for none. */
  readonly algorithms?: readonly CompressionName[] | undefined;
  /** Messages from this size on are compressed, where that makes them smaller. Default 4096. */
  readonly thresholdBytes?: number | undefined;
}

/** Options of {@link createNode}. Durations are in milliseconds, sizes in bytes. */
export interface NodeOptions {
  /** This node's name, which its certificate must carry as a DNS subject alternative name. */
  readonly nodeId: string;
  /** Nodes of different clusters refuse each other. */
  readonly cluster: string;
  readonly tls: TlsOption;
  /** Where to accept peers: one port number, UDP for QUIC and TCP for the fallback. Without it the node only dials. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  /**
   * In order of preference, each name once. Default `['quic', 'tcp']`. A transport of one's own is of this node alone,
   * brings its own certificates and limits, and is closed with the node; where `createNode` fails over its options, it
   * is left open.
   */
  readonly transports?: readonly ('quic' | 'tcp' | Transport)[] | undefined;
  /** What the names of peers mean. Default: DNS, with A, AAAA and SRV records. */
  readonly discovery?: Discovery | undefined;
  /** What this node takes part in. Default: all of it. */
  readonly capabilities?:
    | {
        readonly query?: boolean | undefined;
        readonly replication?: boolean | undefined;
        readonly consensus?: boolean | undefined;
        readonly dataTransfer?: boolean | undefined;
      }
    | undefined;
  /** Tokens, and which calls are allowed. Default: certificates decide alone. */
  readonly auth?: NodeAuthOptions | undefined;
  /**
   * How many dialers may be in their TLS handshake at once, on each transport. Default: 1024 in all, 64 from one IPv4
   * address or one IPv6 network of 64 bits, and over QUIC a Retry from 64 on.
   */
  readonly admission?: AdmissionOptions | undefined;
  /** Sizes and counts that peers and calls have to keep to. */
  readonly limits?: NodeLimitOptions | undefined;
  readonly timeouts?: NodeTimeoutOptions | undefined;
  readonly quic?: NodeQuicOptions | undefined;
  /** Connections to each peer that this node dials. */
  readonly pool?: NodePoolOptions | undefined;
  /** When a silent peer is asked, and when it is given up. */
  readonly health?: NodeHealthOptions | undefined;
  /** When a lost peer is dialed again, for ever. */
  readonly reconnect?: NodeReconnectOptions | undefined;
  /** When calls that failed are made again. */
  readonly retry?: NodeRetryOptions | undefined;
  /** When connections that this node dialed are replaced before they grow old. */
  readonly renewal?: NodeRenewalOptions | undefined;
  readonly compression?: NodeCompressionOptions | undefined;
  /** CRC-32 on every frame. Default true; off only where both sides say so. */
  readonly checksum?: boolean | undefined;
  /**
   * A file to append the secrets of every connection to, for Wireshark: for debugging only. Default: what the environment
   * has as SSLKEYLOGFILE, if anything.
   */
  readonly keyLogFile?: string | undefined;
  /** A pino logger, or the level of the default one on standard error. Default `'warn'`. */
  readonly logger?: LoggingOption | undefined;
}

const durationMs = z.number().int().min(1).max(0x7fff_ffff);
const MIB = 1024 * 1024;
/** A half-open connection takes some 50 KB. */
const MAX_PLACES = 65_536;
const places = z.number().int().min(1).max(MAX_PLACES);
const bytesInFlight = z
  .number()
  .int()
  .max(2 ** 40);
const perSecond = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31);
const poolSize = z.number().int().min(1).max(10);

/** Its length alone may be told. */
const token = z.string().min(1).max(1024);

function callback(name: string) {
  return z.custom<(...given: never[]) => unknown>(
    (value) => typeof value === 'function',
    `${name} must be a function`,
  );
}

const crl = z.union([z.string(), z.custom<Uint8Array>(isBytes, 'must be text or bytes')]);
const tlsMaterial = z.strictObject({
  ca: z.string(),
  cert: z.string(),
  key: z.string(),
  revoked: z.array(z.string()).optional(),
  crl: z.union([crl, z.array(crl)]).optional(),
});

const schema = z.strictObject({
  nodeId: z.string(),
  cluster: z.string().min(1).max(253),
  tls: z.unknown().transform((value, context): TlsOption => {
    if (typeof value === 'function') return value as () => TlsMaterial | Promise<TlsMaterial>;
    const parsed = tlsMaterial.safeParse(value);
    if (parsed.success) return redactFields(parsed.data, ['key']);
    for (const { message, path } of parsed.error.issues) {
      context.addIssue({ code: 'custom', message, path });
    }
    return z.NEVER;
  }),
  listen: z
    .strictObject({
      // With a zone too, for an address of one link.
      host: z.string().refine((host) => isIP(host) !== 0, 'must be an IP address'),
      port: z.number().int().min(0).max(65_535),
    })
    .optional(),
  transports: z
    .array(
      z.custom<'quic' | 'tcp' | Transport>(
        (value) => value === 'quic' || value === 'tcp' || isTransport(value),
        "must be 'quic', 'tcp' or a transport",
      ),
    )
    .min(1)
    .refine(
      (transports) => new Set(transports.map(nameOfTransport)).size === transports.length,
      'names a transport twice',
    )
    .default(['quic', 'tcp']),
  discovery: z
    .custom<Discovery>(
      (value) => typeof value === 'object' && value !== null && 'resolve' in value,
      'must have a method resolve',
    )
    .optional(),
  capabilities: z
    .strictObject({
      query: z.boolean().default(true),
      replication: z.boolean().default(true),
      consensus: z.boolean().default(true),
      dataTransfer: z.boolean().default(true),
    })
    .prefault({}),
  auth: z
    .strictObject({
      token: token.optional(),
      verify: callback('verify').optional(),
      authorize: callback('authorize').optional(),
    })
    .transform((given) => redactFields(given as NodeAuthOptions, ['token']))
    .refine(
      ({ token, verify, authorize }) => token ?? verify ?? authorize,
      'must have a token, verify or authorize',
    )
    .optional(),
  admission: z
    .strictObject({
      maxHalfOpen: places.optional(),
      maxHalfOpenPerSource: places.optional(),
      retry: z.enum(['auto', 'always']).optional(),
      retryThreshold: z.number().int().min(0).max(MAX_PLACES).optional(),
    })
    .default({}),
  limits: z
    .strictObject({
      messageBytes: z
        .number()
        .int()
        .min(128 * 1024)
        .max(256 * MIB)
        .default(DEFAULT_STREAM_LIMITS.maxMessageBytes),
      streams: z
        .number()
        .int()
        .min(2)
        .max(65_536)
        .default(DEFAULT_STREAM_LIMITS.maxIncomingStreams),
      connections: places.default(4096),
      connectionsPerPeer: places.default(64),
      callBytes: bytesInFlight
        .min(DEFAULT_STREAM_LIMITS.streamWindowBytes)
        .default(DEFAULT_STREAM_LIMITS.maxStreamWindowBytes),
      connectionBytes: bytesInFlight
        .min(DEFAULT_STREAM_LIMITS.connectionWindowBytes)
        .default(DEFAULT_STREAM_LIMITS.maxConnectionWindowBytes),
      nodeBytes: bytesInFlight.min(DEFAULT_STREAM_LIMITS.connectionWindowBytes).default(256 * MIB),
      callsPerPeer: places.default(1024),
      streamOpensPerSecond: perSecond.default(DEFAULT_STREAM_LIMITS.streamOpensPerSecond),
      streamResetsPerSecond: perSecond.default(DEFAULT_STREAM_LIMITS.streamResetsPerSecond),
    })
    .prefault({}),
  timeouts: z
    .strictObject({
      connectMs: durationMs.default(5000),
      fallbackDelayMs: durationMs.default(200),
      handshakeMs: durationMs.default(5000),
      idleMs: durationMs.default(30_000),
      keepAliveMs: durationMs.default(10_000),
      drainMs: durationMs.default(5000),
    })
    .prefault({}),
  quic: z
    .strictObject({
      required: z.boolean().default(false),
      maxDatagramBytes: z
        .union([z.literal('auto'), z.number().int().min(1200).max(65_527)])
        .default('auto'),
      earlyData: z.boolean().default(true),
      sessionStore: z
        .custom<SessionStore>(isSessionStore, 'must have the methods put and take')
        .optional(),
      ticketKeyLifetimeMs: durationMs.default(12 * 60 * 60 * 1000),
      migration: z.boolean().default(true),
      congestionControl: z.enum(['cubic', 'reno', 'bbr']).default('cubic'),
    })
    .prefault({}),
  pool: z
    .strictObject({
      min: poolSize.default(DEFAULT_POOL_LIMITS.min),
      max: poolSize.optional(),
      strategy: z.enum(STRATEGIES).default(DEFAULT_POOL_LIMITS.strategy),
      growAtCalls: z.number().int().min(1).max(65_536).default(DEFAULT_POOL_LIMITS.growAtCalls),
      idleMs: durationMs.default(DEFAULT_POOL_LIMITS.idleMs),
    })
    .prefault({})
    .transform((pool) => ({
      ...pool,
      max: pool.max ?? Math.max(pool.min, DEFAULT_POOL_LIMITS.max),
    }))
    .refine(({ min, max }) => min <= max, 'min is above max'),
  health: z
    .strictObject({
      intervalMs: z.number().int().min(10).max(0x7fff_ffff).default(DEFAULT_HEALTH.intervalMs),
      misses: z.number().int().min(1).max(100).default(DEFAULT_HEALTH.misses),
    })
    .prefault({}),
  reconnect: z
    .strictObject({
      minDelayMs: durationMs.default(DEFAULT_BACKOFF.minDelayMs),
      maxDelayMs: durationMs.default(DEFAULT_BACKOFF.maxDelayMs),
      stableMs: durationMs.default(DEFAULT_BACKOFF.stableMs),
    })
    .prefault({})
    .refine(
      ({ minDelayMs, maxDelayMs }) => minDelayMs <= maxDelayMs,
      'minDelayMs is above maxDelayMs',
    ),
  retry: z
    .strictObject({
      attempts: z.number().int().min(1).max(MAX_ATTEMPTS).default(DEFAULT_RETRY.attempts),
      minDelayMs: durationMs.default(DEFAULT_RETRY.minDelayMs),
      maxDelayMs: durationMs.optional(),
      codes: z
        .array(
          z.custom<MeshErrorCode>(
            (value) => typeof value === 'string' && isWireErrorCode(value),
            'must be an error code that travels',
          ),
        )
        .max(256)
        .default([...DEFAULT_RETRY.codes]),
      budget: z.number().int().min(0).max(1_000_000).default(1000),
      budgetRatio: z.number().min(0).max(1).default(0.2),
    })
    .prefault({})
    .transform((retry) => ({
      ...retry,
      maxDelayMs: retry.maxDelayMs ?? Math.max(retry.minDelayMs, DEFAULT_RETRY.maxDelayMs),
    }))
    .refine(
      ({ minDelayMs, maxDelayMs }) => minDelayMs <= maxDelayMs,
      'minDelayMs is above maxDelayMs',
    ),
  renewal: z
    .strictObject({
      afterStreams: z
        .number()
        .int()
        .min(1)
        .max(2 ** 31)
        .default(4_000_000),
      afterMs: durationMs.default(24 * 60 * 60 * 1000),
    })
    .prefault({}),
  compression: z
    .strictObject({
      algorithms: z
        .array(z.enum(['lz4', 'zstd']))
        .max(2)
        .default(['lz4', 'zstd']),
      thresholdBytes: z.number().int().min(64).max(0x7fff_ffff).default(4096),
    })
    .prefault({}),
  checksum: z.boolean().default(true),
  keyLogFile: z
    .string()
    .min(1)
    .optional()
    .transform((path) => path ?? (process.env.SSLKEYLOGFILE || undefined)),
  logger: z
    .union([
      z.enum(['silent', 'error', 'warn', 'info', 'debug']),
      z.custom<Logger>(
        (value) => typeof value === 'object' && value !== null && 'child' in value,
        'must be a pino logger or a level',
      ),
    ])
    .default('warn'),
});

function isSessionStore(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { put, take } = value as Partial<SessionStore>;
  return typeof put === 'function' && typeof take === 'function';
}

function isTransport(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { name, dial, listen, counters, close } = value as Partial<Transport>;
  if (name === undefined || !TRANSPORT_NAMES.includes(name)) return false;
  const areMethods = [dial, listen, close].every((method) => typeof method === 'function');
  return areMethods && typeof counters === 'object' && counters !== null;
}

function nameOfTransport(transport: 'quic' | 'tcp' | Transport): TransportName {
  return typeof transport === 'string' ? transport : transport.name;
}

/** The options with every default filled in. */
export type NodeConfig = Readonly<z.output<typeof schema>>;

/**
 * Checks options and fills in defaults.
 * @throws MeshError InvalidOptions naming every option that is wrong
 */
export function resolveOptions(options: NodeOptions): NodeConfig {
  const parsed = schema.safeParse(options);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'options'}: ${message}`,
    );
    throw new MeshError('InvalidOptions', problems.join('; '));
  }
  try {
    assertNodeIds([parsed.data.nodeId]);
  } catch (thrown) {
    throw new MeshError('InvalidOptions', `nodeId: ${toMeshError(thrown).message}`, {
      cause: thrown,
    });
  }
  const { data } = parsed;
  return Object.freeze(data.quic.required ? { ...data, transports: [quicOf(data)] } : data);
}

function quicOf({ transports }: NodeConfig): NodeConfig['transports'][number] {
  return transports.find((transport) => nameOfTransport(transport) === 'quic') ?? 'quic';
}

/**
 * What a `tls` function gave, checked as the option itself is.
 * @throws MeshError InvalidOptions
 */
export function resolveTlsMaterial(given: unknown): TlsMaterial {
  const parsed = tlsMaterial.safeParse(given);
  if (parsed.success) return Object.freeze(redactFields(parsed.data, ['key']));
  const problems = parsed.error.issues.map(
    ({ path, message }) => `tls.${path.join('.')}: ${message}`,
  );
  throw new MeshError('InvalidOptions', problems.join('; '));
}
