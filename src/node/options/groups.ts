/** The schemas of options that stand in groups, with their bounds and defaults. */
import { isIP } from 'node:net';
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
import type { SessionStore } from '../../transport/quic/resumption/sessions.js';
import { group, is, listOf } from './check.js';
import type { NodeAuthOptions } from './types.js';
import {
  callback,
  checkedText,
  durationMs,
  flag,
  isWholeNumber,
  oneOf,
  ratio,
  text,
  wholeNumber,
} from './values.js';

const MIB = 1024 * 1024;
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
  query: flag.default(true),
  replication: flag.default(true),
  consensus: flag.default(true),
  dataTransfer: flag.default(true),
});

const auth = group({
  token: text(1, 1024).optional(),
  verify: callback<NonNullable<NodeAuthOptions['verify']>>().optional(),
  authorize: callback<Authorize>().optional(),
})
  .transform((given) => redactFields(given, ['token']))
  .refine(
    ({ token, verify, authorize }) => token ?? verify ?? authorize,
    'must have a token, verify or authorize',
  );

const SECRET = 'must be text of 16 to 1024 characters, or an array of one to four of them';

function secretsIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isSecret(value: unknown): boolean {
  return typeof value === 'string' && value.length >= 16 && value.length <= 1024;
}

const admission = group({
  silent: oneOf(['required', 'off']).optional(),
  secret: is<string | readonly string[]>((value) => {
    const secrets = secretsIn(value);
    return secrets.length >= 1 && secrets.length <= 4 && secrets.every(isSecret);
  }, SECRET)
    .transform((value) => (typeof value === 'string' ? value : Object.freeze([...value])))
    .optional(),
  maxHalfOpen: places.optional(),
  maxHalfOpenPerSource: places.optional(),
  retry: oneOf(['auto', 'always']).optional(),
  retryThreshold: wholeNumber(0, MAX_PLACES).optional(),
}).transform((given) => redactFields(given, ['secret']));

const limits = group({
  messageBytes: wholeNumber(128 * 1024, 256 * MIB, 'bytes').default(
    DEFAULT_STREAM_LIMITS.maxMessageBytes,
  ),
  streams: wholeNumber(2, 65_536).default(DEFAULT_STREAM_LIMITS.maxIncomingStreams),
  connections: places.default(4096),
  connectionsPerPeer: places.default(64),
  callBytes: bytesInFlight(DEFAULT_STREAM_LIMITS.streamWindowBytes).default(
    DEFAULT_STREAM_LIMITS.maxStreamWindowBytes,
  ),
  connectionBytes: bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes).default(
    DEFAULT_STREAM_LIMITS.maxConnectionWindowBytes,
  ),
  peerBytes: bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes).optional(),
  nodeBytes: bytesInFlight(DEFAULT_STREAM_LIMITS.connectionWindowBytes).default(256 * MIB),
  callsPerPeer: places.default(1024),
  streamOpensPerSecond: perSecond.default(DEFAULT_STREAM_LIMITS.streamOpensPerSecond),
  streamResetsPerSecond: perSecond.default(DEFAULT_STREAM_LIMITS.streamResetsPerSecond),
});

const timeouts = group({
  connectMs: durationMs.default(5000),
  fallbackDelayMs: durationMs.default(200),
  handshakeMs: durationMs.default(5000),
  idleMs: durationMs.default(30_000),
  keepAliveMs: durationMs.default(10_000),
  drainMs: durationMs.default(5000),
});

const quic = group({
  required: flag.default(false),
  maxDatagramBytes: is<number | 'auto'>(
    (value) => value === 'auto' || isWholeNumber(value, 1200, 65_527),
    "must be 'auto', or a whole number of bytes from 1200 to 65527",
  ).default('auto'),
  earlyData: flag.default(true),
  sessionStore: is<SessionStore>(
    isSessionStore,
    'must be an object with the methods put and take',
  ).optional(),
  ticketKeyLifetimeMs: durationMs.default(12 * 60 * 60 * 1000),
  migration: flag.default(true),
  peerSockets: wholeNumber(0, 65_536).default(128),
  congestionControl: oneOf(['cubic', 'reno', 'bbr']).default('cubic'),
});

const pool = group({
  min: poolSize.default(DEFAULT_POOL_LIMITS.min),
  max: poolSize.optional(),
  strategy: oneOf(STRATEGIES).default(DEFAULT_POOL_LIMITS.strategy),
  growAtCalls: wholeNumber(1, 65_536).default(DEFAULT_POOL_LIMITS.growAtCalls),
  idleMs: durationMs.default(DEFAULT_POOL_LIMITS.idleMs),
});

const bulk = group({
  transport: oneOf(['auto', 'quic', 'tcp', 'same']).default('auto'),
  thresholdBytes: wholeNumber(0, Number.MAX_SAFE_INTEGER, 'bytes').default(MIB),
  idleMs: durationMs.default(30_000),
});

const health = group({
  intervalMs: wholeNumber(10, MAX_TIMER_MS, 'milliseconds').default(DEFAULT_HEALTH.intervalMs),
  misses: wholeNumber(1, 100).default(DEFAULT_HEALTH.misses),
});

const reconnect = group({
  minDelayMs: durationMs.default(DEFAULT_BACKOFF.minDelayMs),
  maxDelayMs: durationMs.default(DEFAULT_BACKOFF.maxDelayMs),
  stableMs: durationMs.default(DEFAULT_BACKOFF.stableMs),
});

const retry = group({
  attempts: wholeNumber(1, MAX_ATTEMPTS).default(DEFAULT_RETRY.attempts),
  minDelayMs: durationMs.default(DEFAULT_RETRY.minDelayMs),
  maxDelayMs: durationMs.optional(),
  codes: listOf(
    is<MeshErrorCode>(
      (value) => typeof value === 'string' && isWireErrorCode(value),
      "must be the code of an error that peers answer with, such as 'Overloaded'",
    ),
    'must be an array of error codes',
  )
    .refine((codes) => codes.length <= 256, 'must have at most 256 codes')
    .default(DEFAULT_RETRY.codes),
  budget: wholeNumber(0, 1_000_000).default(1000),
  budgetRatio: ratio.default(0.2),
});

const renewal = group({
  afterStreams: wholeNumber(1, 2 ** 31).default(4_000_000),
  afterMs: durationMs.default(24 * 60 * 60 * 1000),
});

const ALGORITHMS = ['lz4', 'zstd'] as const;

const compression = group({
  algorithms: listOf(oneOf(ALGORITHMS), "must be an array of 'lz4' and 'zstd', or [] for none")
    .refine((given) => new Set(given).size === given.length, 'names an algorithm twice')
    .default(ALGORITHMS),
  thresholdBytes: wholeNumber(64, 0x7fff_ffff, 'bytes').default(4096),
});

/** By the names of the groups. */
export const GROUPS = {
  listen: listen.optional(),
  capabilities: capabilities.default({}),
  auth: auth.optional(),
  admission: admission.default({}),
  limits: limits.default({}).transform(({ peerBytes, ...rest }) => ({
    ...rest,
    peerBytes: peerBytes ?? Math.max(rest.connectionBytes, Math.floor(rest.nodeBytes / PEER_SHARE)),
  })),
  timeouts: timeouts.default({}),
  quic: quic.default({}),
  pool: pool
    .default({})
    .transform(({ max, ...rest }) => ({
      ...rest,
      max: max ?? Math.max(rest.min, DEFAULT_POOL_LIMITS.max),
    }))
    .refine(({ min, max }) => min <= max, 'min is above max'),
  bulk: bulk.default({}),
  health: health.default({}),
  reconnect: reconnect.default({}).refine(isDelayRange, 'minDelayMs is above maxDelayMs'),
  retry: retry
    .default({})
    .transform(({ maxDelayMs, ...rest }) => ({
      ...rest,
      maxDelayMs: maxDelayMs ?? Math.max(rest.minDelayMs, DEFAULT_RETRY.maxDelayMs),
    }))
    .refine(isDelayRange, 'minDelayMs is above maxDelayMs'),
  renewal: renewal.default({}),
  compression: compression.default({}),
};

function isDelayRange(delays: { readonly minDelayMs: number; readonly maxDelayMs: number }) {
  return delays.minDelayMs <= delays.maxDelayMs;
}

function isSessionStore(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { put, take } = value as Partial<SessionStore>;
  return typeof put === 'function' && typeof take === 'function';
}
