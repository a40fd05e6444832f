/** The schemas of options that stand in groups, with their bounds and defaults. */
import { isIP } from 'node:net';
import * as v from 'valibot';
import { MAX_TIMER_MS } from '../../base/clock.js';
import { redactFields } from '../../base/redact.js';
import { DEFAULT_RETRY, MAX_ATTEMPTS } from '../../calls/outgoing/retry-policy.js';
import type { Authorize } from '../../calls/session/authorize.js';
import { isWireErrorCode, type MeshErrorCode } from '../../errors.js';
import { DEFAULT_BACKOFF } from '../../pool/backoff.js';
import { DEFAULT_HEALTH } from '../../pool/health.js';
import { DEFAULT_POOL_LIMITS } from '../../pool/options.js';
import { STRATEGIES } from '../../pool/select.js';
import { DEFAULT_STREAM_LIMITS } from '../../transport/connection.js';
import {
  DEFAULT_INITIAL_WINDOW_BYTES,
  MAX_INITIAL_WINDOW_BYTES,
  MIN_INITIAL_WINDOW_BYTES,
} from '../../transport/quic/binding/congestion-control.js';
import type { SessionStore } from '../../transport/quic/resumption/sessions.js';
import type { NodeAuthOptions } from './types.js';
import {
  callback,
  checkedText,
  durationMs,
  flag,
  group,
  is,
  isWholeNumber,
  listOf,
  oneOf,
  ratio,
  text,
  wholeNumber,
} from './values.js';

const MIB = 1024 * 1024;
const NO_RANGE = 'minDelayMs is above maxDelayMs';
/** One peer may take so much of what the node takes in all: one part in so many. */
const PEER_SHARE = 4;
/** A half-open connection takes some 50 KB. */
const MAX_PLACES = 65_536;
const places = wholeNumber(1, MAX_PLACES);
const perSecond = wholeNumber(1, 2 ** 31);
const poolSize = wholeNumber(1, 10);

function bytesInFlight(min: number) {
  return wholeNumber(min, 2 ** 40, 'bytes');
}

const listen = group({
  // With a zone too, for an address of one link.
  host: checkedText(
    (host) => isIP(host) !== 0,
    "must be an IP address, such as '127.0.0.1', or '0.0.0.0' or '::' for all interfaces",
  ),
  port: wholeNumber(0, 65_535),
});

const capabilities = group({
  query: v.optional(flag, true),
  replication: v.optional(flag, true),
  consensus: v.optional(flag, true),
  dataTransfer: v.optional(flag, true),
});

const auth = v.pipe(
  group({
    token: v.optional(text(1, 1024)),
    verify: v.optional(callback<NonNullable<NodeAuthOptions['verify']>>()),
    authorize: v.optional(callback<Authorize>()),
  }),
  v.transform((given) => redactFields(given, ['token'])),
  v.check(
    ({ token, verify, authorize }) => (token ?? verify ?? authorize) !== undefined,
    'must have a token, verify or authorize',
  ),
);

const SECRET = 'must be text of 16 to 1024 characters, or an array of one to four of them';

function secretsIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isSecret(value: unknown): boolean {
  return typeof value === 'string' && value.length >= 16 && value.length <= 1024;
}

const admission = v.pipe(
  group({
    silent: v.optional(oneOf(['required', 'off'])),
    secret: v.optional(
      v.pipe(
        is<string | readonly string[]>((value) => {
          const secrets = secretsIn(value);
          return secrets.length >= 1 && secrets.length <= 4 && secrets.every(isSecret);
        }, SECRET),
        v.transform((value) => (typeof value === 'string' ? value : Object.freeze([...value]))),
      ),
    ),
    maxHalfOpen: v.optional(places),
    maxHalfOpenPerSource: v.optional(places),
    retry: v.optional(oneOf(['auto', 'always'])),
    retryThreshold: v.optional(wholeNumber(0, MAX_PLACES)),
  }),
  v.transform((given) => redactFields(given, ['secret'])),
);

const limits = group({
  messageBytes: v.optional(
    wholeNumber(128 * 1024, 256 * MIB, 'bytes'),
    DEFAULT_STREAM_LIMITS.maxMessageBytes,
  ),
  streams: v.optional(wholeNumber(2, 65_536), DEFAULT_STREAM_LIMITS.maxIncomingStreams),
  connections: v.optional(places, 4096),
  connectionsPerPeer: v.optional(places, 64),
  callBytes: v.optional(
    bytesInFlight(DEFAULT_STREAM_LIMITS.streamWindowBytes),
    DEFAULT_STREAM_LIMITS.maxStreamWindowBytes,
  ),
  connectionBytes: v.optional(
    bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes),
    DEFAULT_STREAM_LIMITS.maxConnectionWindowBytes,
  ),
  peerBytes: v.optional(bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes)),
  nodeBytes: v.optional(bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes), 256 * MIB),
  callsPerPeer: v.optional(places, 1024),
  streamOpensPerSecond: v.optional(perSecond, DEFAULT_STREAM_LIMITS.streamOpensPerSecond),
  streamResetsPerSecond: v.optional(perSecond, DEFAULT_STREAM_LIMITS.streamResetsPerSecond),
  errorsPerSecond: v.optional(perSecond, 1000),
});

const timeouts = group({
  connectMs: v.optional(durationMs, 5000),
  fallbackDelayMs: v.optional(durationMs, 200),
  handshakeMs: v.optional(durationMs, 5000),
  idleMs: v.optional(durationMs, 30_000),
  keepAliveMs: v.optional(durationMs, 10_000),
  drainMs: v.optional(durationMs, 5000),
});

const quic = group({
  required: v.optional(flag, false),
  maxDatagramBytes: v.optional(
    is<number | 'auto'>(
      (value) => value === 'auto' || isWholeNumber(value, 1200, 65_527),
      "must be 'auto', or a whole number of bytes from 1200 to 65527",
    ),
    'auto',
  ),
  earlyData: v.optional(flag, true),
  sessionStore: v.optional(
    is<SessionStore>(isSessionStore, 'must be an object with the methods put and take'),
  ),
  ticketKeyLifetimeMs: v.optional(durationMs, 12 * 60 * 60 * 1000),
  migration: v.optional(flag, true),
  peerSockets: v.optional(wholeNumber(0, 65_536), 128),
  congestionControl: v.optional(oneOf(['cubic', 'reno', 'bbr']), 'cubic'),
  initialWindowBytes: v.optional(
    wholeNumber(MIN_INITIAL_WINDOW_BYTES, MAX_INITIAL_WINDOW_BYTES, 'bytes'),
    DEFAULT_INITIAL_WINDOW_BYTES,
  ),
});

const pool = group({
  min: v.optional(poolSize, DEFAULT_POOL_LIMITS.min),
  max: v.optional(poolSize),
  strategy: v.optional(oneOf(STRATEGIES), DEFAULT_POOL_LIMITS.strategy),
  growAtCalls: v.optional(wholeNumber(1, 65_536), DEFAULT_POOL_LIMITS.growAtCalls),
  idleMs: v.optional(durationMs, DEFAULT_POOL_LIMITS.idleMs),
});

const bulk = group({
  transport: v.optional(oneOf(['auto', 'quic', 'tcp', 'same']), 'auto'),
  thresholdBytes: v.optional(wholeNumber(0, Number.MAX_SAFE_INTEGER, 'bytes'), MIB),
  idleMs: v.optional(durationMs, 30_000),
});

const health = group({
  intervalMs: v.optional(wholeNumber(10, MAX_TIMER_MS, 'milliseconds'), DEFAULT_HEALTH.intervalMs),
  misses: v.optional(wholeNumber(1, 100), DEFAULT_HEALTH.misses),
});

const reconnect = group({
  minDelayMs: v.optional(durationMs, DEFAULT_BACKOFF.minDelayMs),
  maxDelayMs: v.optional(durationMs, DEFAULT_BACKOFF.maxDelayMs),
  stableMs: v.optional(durationMs, DEFAULT_BACKOFF.stableMs),
});

const retry = group({
  attempts: v.optional(wholeNumber(1, MAX_ATTEMPTS), DEFAULT_RETRY.attempts),
  minDelayMs: v.optional(durationMs, DEFAULT_RETRY.minDelayMs),
  maxDelayMs: v.optional(durationMs),
  codes: v.optional(
    v.pipe(
      listOf(
        is<MeshErrorCode>(
          (value) => typeof value === 'string' && isWireErrorCode(value),
          "must be the code of an error that peers answer with, such as 'Overloaded'",
        ),
        'must be an array of error codes',
      ),
      v.check((codes) => codes.length <= 256, 'must have at most 256 codes'),
    ),
    DEFAULT_RETRY.codes,
  ),
  budget: v.optional(wholeNumber(0, 1_000_000), 1000),
  budgetRatio: v.optional(ratio, 0.2),
});

const renewal = group({
  afterStreams: v.optional(wholeNumber(1, 2 ** 31), 4_000_000),
  afterMs: v.optional(durationMs, 24 * 60 * 60 * 1000),
});

const ALGORITHMS = ['lz4', 'zstd'] as const;

const compression = group({
  algorithms: v.optional(
    v.pipe(
      listOf(oneOf(ALGORITHMS), "must be an array of 'lz4' and 'zstd', or [] for none"),
      v.check((given) => new Set(given).size === given.length, 'names an algorithm twice'),
    ),
    ALGORITHMS,
  ),
  thresholdBytes: v.optional(wholeNumber(64, 0x7fff_ffff, 'bytes'), 4096),
});

/** By the names of the groups. */
export const GROUPS = {
  listen: v.optional(listen),
  capabilities: v.optional(capabilities, {}),
  auth: v.optional(auth),
  admission: v.optional(admission, {}),
  limits: v.optional(
    v.pipe(
      limits,
      v.transform(({ peerBytes, ...rest }) => {
        const share = Math.floor(rest.nodeBytes / PEER_SHARE);
        return { ...rest, peerBytes: peerBytes ?? Math.max(rest.connectionBytes, share) };
      }),
    ),
    {},
  ),
  timeouts: v.optional(timeouts, {}),
  quic: v.optional(quic, {}),
  pool: v.optional(
    v.pipe(
      pool,
      v.transform(({ max, ...rest }) => ({
        ...rest,
        max: max ?? Math.max(rest.min, DEFAULT_POOL_LIMITS.max),
      })),
      v.check(({ min, max }) => min <= max, 'min is above max'),
    ),
    {},
  ),
  bulk: v.optional(bulk, {}),
  health: v.optional(health, {}),
  reconnect: v.optional(
    v.pipe(
      reconnect,
      v.check((delays) => isDelayRange(delays), NO_RANGE),
    ),
    {},
  ),
  retry: v.optional(
    v.pipe(
      retry,
      v.transform(({ maxDelayMs, ...rest }) => ({
        ...rest,
        maxDelayMs: maxDelayMs ?? Math.max(rest.minDelayMs, DEFAULT_RETRY.maxDelayMs),
      })),
      v.check((delays) => isDelayRange(delays), NO_RANGE),
    ),
    {},
  ),
  renewal: v.optional(renewal, {}),
  compression: v.optional(compression, {}),
};

function isDelayRange(delays: { readonly minDelayMs: number; readonly maxDelayMs: number }) {
  return delays.minDelayMs <= delays.maxDelayMs;
}

function isSessionStore(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { put, take } = value as Partial<SessionStore>;
  return typeof put === 'function' && typeof take === 'function';
}
