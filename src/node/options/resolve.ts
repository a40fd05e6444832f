/** Checks what users pass to `createNode`, once, and resolves it into one frozen config. */
import * as v from 'valibot';
import { redactFields } from '../../base/redact.js';
import { MeshError, toMeshError } from '../../errors.js';
import { requireNodeId } from '../../protocol/node-id.js';
import type { TlsMaterial } from '../../transport/connection.js';
import { nameOfTransport, schema } from './schema.js';
import { tlsMaterial } from './tls-schema.js';
import type { NodeOptions } from './types.js';

/** The options with every default filled in. */
export type NodeConfig = Readonly<v.InferOutput<typeof schema>>;

/**
 * Checks options and fills in defaults.
 * @throws MeshError InvalidOptions naming every option that is wrong
 */
export function resolveOptions(options: NodeOptions): NodeConfig {
  const { success, output, issues } = v.safeParse(schema, options);
  if (!success) throw invalidOptions([], issues);
  const data = { ...output, nodeId: ownNodeId(output.nodeId) };
  const config = data.quic.required ? { ...data, transports: [quicOf(data)] } : data;
  checkBulk(config);
  return Object.freeze(config);
}

/** @throws MeshError InvalidOptions */
function checkBulk({ bulk: { transport }, transports }: NodeConfig): void {
  if (transport === 'auto' || transport === 'same') return;
  if (transports.map(nameOfTransport).includes(transport)) return;
  throw new MeshError('InvalidOptions', `bulk.transport: the node has no transport ${transport}`);
}

/** @throws MeshError InvalidOptions */
function ownNodeId(text: string): string {
  try {
    return requireNodeId(text);
  } catch (cause) {
    throw new MeshError('InvalidOptions', `nodeId: ${toMeshError(cause).message}`, { cause });
  }
}

function quicOf({ transports }: NodeConfig): NodeConfig['transports'][number] {
  return transports.find((transport) => nameOfTransport(transport) === 'quic') ?? 'quic';
}

/**
 * What a `tls` function gave, checked as the option itself is.
 * @throws MeshError InvalidOptions
 */
export function resolveTlsMaterial(given: unknown): TlsMaterial {
  const { success, output, issues } = v.safeParse(tlsMaterial, given);
  if (success) return Object.freeze(redactFields(output, ['key']));
  throw invalidOptions(['tls'], issues);
}

/** @param at the option that was read, [] for all of them */
function invalidOptions(at: readonly string[], issues: readonly v.BaseIssue<unknown>[]): MeshError {
  const problems = issues.map(({ path = [], expected, message }) => {
    const keys = path.map(({ key }) => String(key));
    // A key that is not known is a fault of the object that it stands in.
    const its = expected === 'never' ? keys.slice(0, -1) : keys;
    return `${[...at, ...its].join('.') || 'options'}: ${message}`;
  });
  return new MeshError('InvalidOptions', problems.join('; '));
}
