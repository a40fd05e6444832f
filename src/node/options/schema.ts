/** The schema of what users pass to `createNode`: what is allowed, and the defaults. Unknown keys are errors. */
import type { Logger } from 'pino';
import type { Redundancy } from '../../calls/redundancy.js';
import { TRANSPORT_NAMES, type Transport, type TransportName } from '../../transport/connection.js';
import type { Discovery } from '../../transport/dialing/discovery.js';
import type { Agree, Differences } from './agreement.js';
import { group, type InputOf, is, listOf } from './check.js';
import { GROUPS } from './groups.js';
import { tlsOption } from './tls-schema.js';
import type { NodeOptions } from './types.js';
import { checkedText, flag, listed, text } from './values.js';

type TransportOption = 'quic' | 'tcp' | Transport;

const transport = is<TransportOption>(
  (value) => value === 'quic' || value === 'tcp' || isTransport(value),
  "must be 'quic', 'tcp' or an object with name, dial, listen, counters and close",
);

const transports = listOf(transport, "must be an array of 'quic', 'tcp' and transports of your own")
  .refine((given) => given.length > 0, "must name at least one, such as 'quic' or 'tcp'")
  .refine(
    (given) => new Set(given.map(nameOfTransport)).size === given.length,
    'names a transport twice',
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
    transports: transports.default(['quic', 'tcp']),
    discovery: is<Discovery>(
      hasResolve,
      'must be an object with the method resolve, as dnsDiscovery() and staticDiscovery() give',
    ).optional(),
    redundancy: is<Redundancy>((value) => value === 1 || value === 2, 'must be 1 or 2').default(1),
    checksum: flag.default(true),
    keyLogFile: checkedText((path) => path !== '', 'must be the path of a file')
      .optional()
      .transform((path) => path ?? (process.env.SSLKEYLOGFILE || undefined)),
    logger: is<Logger | LogLevel>(
      (value) => LOG_LEVELS.includes(value as LogLevel) || isLogger(value),
      `must be a pino logger, or ${listed(LOG_LEVELS)}`,
    ).default('warn'),
  },
  'must be an object with at least nodeId, cluster and tls',
);

type Input = InputOf<typeof schema>;
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
