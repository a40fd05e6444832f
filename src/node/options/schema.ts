/** The schema of what users pass to `createNode`: what is allowed, and the defaults. Unknown keys are errors. */
import type { Logger } from 'pino';
import * as v from 'valibot';
import type { Redundancy } from '../../calls/redundancy.js';
import { TRANSPORT_NAMES, type Transport, type TransportName } from '../../transport/connection.js';
import type { Discovery } from '../../transport/dialing/discovery.js';
import type { Agree, Differences } from './agreement.js';
import { GROUPS } from './groups.js';
import { tlsOption } from './tls-schema.js';
import type { NodeOptions } from './types.js';
import { checkedText, flag, group, is, listed, listOf, text } from './values.js';

type TransportOption = 'quic' | 'tcp' | Transport;

const transport = is<TransportOption>(
  (value) => value === 'quic' || value === 'tcp' || isTransport(value),
  "must be 'quic', 'tcp' or an object with name, dial, listen, counters and close",
);

const transports = v.pipe(
  listOf(transport, "must be an array of 'quic', 'tcp' and transports of your own"),
  v.check((given) => given.length > 0, "must name at least one, such as 'quic' or 'tcp'"),
  v.check(
    (given) => new Set(given.map(nameOfTransport)).size === given.length,
    'names a transport twice',
  ),
);

const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
type LogLevel = (typeof LOG_LEVELS)[number];

/** All options. */
export const schema = group(
  {
    nodeId: checkedText(
      () => true,
      'must be text: the name that the certificate of this node carries',
    ),
    cluster: text(1, 253),
    tls: tlsOption,
    ...GROUPS,
    transports: v.optional(transports, ['quic', 'tcp']),
    discovery: v.optional(
      is<Discovery>(
        hasResolve,
        'must be an object with the method resolve, as dnsDiscovery() and staticDiscovery() give',
      ),
    ),
    redundancy: v.optional(
      is<Redundancy>((value) => value === 1 || value === 2, 'must be 1 or 2'),
      1,
    ),
    checksum: v.optional(flag, true),
    keyLogFile: v.optional(
      checkedText((path) => path !== '', 'must be the path of a file'),
      () => process.env.SSLKEYLOGFILE || undefined,
    ),
    logger: v.optional(
      is<Logger | LogLevel>(
        (value) => LOG_LEVELS.includes(value as LogLevel) || isLogger(value),
        `must be a pino logger, or ${listed(LOG_LEVELS)}`,
      ),
      'warn',
    ),
  },
  'must be an object with at least nodeId, cluster and tls',
);

type Input = v.InferInput<typeof schema>;
type Groups = typeof GROUPS;

/** Where the types of options and this schema say different things, the compiler names it here. */
export type TypesAgree = Agree<
  | Differences<NodeOptions, Input>
  | {
      [K in keyof Groups]: Differences<NonNullable<NodeOptions[K]>, NonNullable<Input[K]>>;
    }[keyof Groups]
>;

export function nameOfTransport(given: TransportOption): TransportName {
  return typeof given === 'string' ? given : given.name;
}

function isTransport(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { name, dial, listen, counters, close } = value as Partial<Transport>;
  if (name === undefined || !TRANSPORT_NAMES.includes(name)) return false;
  const areMethods = [dial, listen, close].every((method) => typeof method === 'function');
  return areMethods && typeof counters === 'object' && counters !== null;
}

function isLogger(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'child' in value;
}

function hasResolve(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return typeof (value as Partial<Discovery>).resolve === 'function';
}
