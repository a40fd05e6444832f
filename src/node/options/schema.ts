/** The schema of what users pass to `createNode`: what is allowed, and the defaults. Unknown keys are errors. */
import { isIP } from 'node:net';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isBytes } from '../../base/realms.js';
import { redactFields } from '../../base/redact.js';
import { DEFAULT_RETRY, MAX_ATTEMPTS } from '../../calls/outgoing/retry-policy.js';
import type { Authorize } from '../../calls/session/authorize.js';
import { isWireErrorCode, type MeshErrorCode } from '../../errors.js';
import { DEFAULT_BACKOFF } from '../../pool/backoff.js';
import { DEFAULT_HEALTH } from '../../pool/health.js';
import { DEFAULT_POOL_LIMITS } from '../../pool/options.js';
import { STRATEGIES } from '../../pool/select.js';
import {
  DEFAULT_STREAM_LIMITS,
  type TlsMaterial,
  TRANSPORT_NAMES,
  type Transport,
  type TransportName,
} from '../../transport/connection.js';
import type { Discovery } from '../../transport/dialing/discovery.js';
import type { SessionStore } from '../../transport/quic/resumption/sessions.js';
import type { Agree, Differences } from './agreement.js';
import type { NodeAuthOptions, NodeOptions, TlsOption } from './types.js';

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

function callback<T>(name: string) {
  return z.custom<T>((value) => typeof value === 'function', `${name} must be a function`);
}

const crl = z.union([z.string(), z.custom<Uint8Array>(isBytes, 'must be text or bytes')]);
/** What `tls` is, or what a function gave for it. */
export const tlsMaterial = z.strictObject({
  ca: z.string(),
  cert: z.string(),
  key: z.string(),
  revoked: z.array(z.string()).readonly().optional(),
  crl: z.union([crl, z.array(crl).readonly()]).optional(),
});

/** Options in groups, each an object of its own. */
const GROUPS = {
  listen: z
    .strictObject({
      // With a zone too, for an address of one link.
      host: z.string().refine((host) => isIP(host) !== 0, 'must be an IP address'),
      port: z.number().int().min(0).max(65_535),
    })
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
      verify: callback<NonNullable<NodeAuthOptions['verify']>>('verify').optional(),
      authorize: callback<Authorize>('authorize').optional(),
    })
    .transform((given) => redactFields(given, ['token']))
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
        .readonly()
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
        .readonly()
        .default(['lz4', 'zstd']),
      thresholdBytes: z.number().int().min(64).max(0x7fff_ffff).default(4096),
    })
    .prefault({}),
};

/** All options. */
export const schema = z.strictObject({
  ...GROUPS,
  nodeId: z.string(),
  cluster: z.string().min(1).max(253),
  tls: z.custom<TlsOption>().transform((value, context): TlsOption => {
    if (typeof value === 'function') return value;
    const parsed = tlsMaterial.safeParse(value);
    if (parsed.success) return redactFields(parsed.data, ['key']);
    for (const { message, path } of parsed.error.issues) {
      context.addIssue({ code: 'custom', message, path });
    }
    return z.NEVER;
  }),
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
    .readonly()
    .default(['quic', 'tcp']),
  discovery: z
    .custom<Discovery>(
      (value) => typeof value === 'object' && value !== null && 'resolve' in value,
      'must have a method resolve',
    )
    .optional(),
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

type Input = z.input<typeof schema>;
type Groups = typeof GROUPS;

/** Where the types of options and this schema say different things, the compiler names it here. */
export type TypesAgree = Agree<
  | Differences<NodeOptions, Input>
  | Differences<TlsMaterial, z.input<typeof tlsMaterial>>
  | {
      [K in keyof Groups]: Differences<NonNullable<NodeOptions[K]>, NonNullable<Input[K]>>;
    }[keyof Groups]
>;

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

export function nameOfTransport(transport: 'quic' | 'tcp' | Transport): TransportName {
  return typeof transport === 'string' ? transport : transport.name;
}
