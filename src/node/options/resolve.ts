/** Checks what users pass to `createNode`, once, and resolves it into one frozen config. */
import type { z } from 'zod';
import { redactFields } from '../../base/redact.js';
import { MeshError, toMeshError } from '../../errors.js';
import { requireNodeId } from '../../protocol/node-id.js';
import type { TlsMaterial } from '../../transport/connection.js';
import { nameOfTransport, schema } from './schema.js';
import { tlsMaterial } from './tls-schema.js';
import type { NodeOptions } from './types.js';

/** The options with every default filled in. */
export type NodeConfig = Readonly<z.output<typeof schema>>;

/**
 * Checks options and fills in defaults.
 * @throws MeshError InvalidOptions naming every option that is wrong
 */
export function resolveOptions(options: NodeOptions): NodeConfig {
  const parsed = schema.safeParse(options);
  if (!parsed.success) throw invalidOptions([], parsed.error);
  const data = { ...parsed.data, nodeId: ownNodeId(parsed.data.nodeId) };
  return Object.freeze(data.quic.required ? { ...data, transports: [quicOf(data)] } : data);
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
  const parsed = tlsMaterial.safeParse(given);
  if (parsed.success) return Object.freeze(redactFields(parsed.data, ['key']));
  throw invalidOptions(['tls'], parsed.error);
}

/** @param at the option that was parsed, [] for all of them */
function invalidOptions(at: readonly string[], { issues }: z.ZodError): MeshError {
  const problems = issues.map(({ path, message }) => {
    return `${[...at, ...path].join('.') || 'options'}: ${message}`;
  });
  return new MeshError('InvalidOptions', problems.join('; '));
}
