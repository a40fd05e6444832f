/** Checks what users pass to `createNode`, once, and resolves it into one frozen config. */
import { redactFields } from '../../base/redact.js';
import { MeshError, toMeshError } from '../../errors.js';
import { requireNodeId } from '../../protocol/node-id.js';
import type { TlsMaterial } from '../../transport/connection.js';
import { type OutputOf, type Problem, WRONG } from './check.js';
import { nameOfTransport, schema } from './schema.js';
import { tlsMaterial } from './tls-schema.js';
import type { NodeOptions } from './types.js';

/** The options with every default filled in. */
export type NodeConfig = Readonly<OutputOf<typeof schema>>;

/**
 * Checks options and fills in defaults.
 * @throws MeshError InvalidOptions naming every option that is wrong
 */
export function resolveOptions(options: NodeOptions): NodeConfig {
  const problems: Problem[] = [];
  const checked = schema.read(options, [], problems);
  if (checked === WRONG) throw invalidOptions(problems);
  const data = { ...checked, nodeId: ownNodeId(checked.nodeId) };
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
  const problems: Problem[] = [];
  const material = tlsMaterial.read(given, ['tls'], problems);
  if (material === WRONG) throw invalidOptions(problems);
  return Object.freeze(redactFields(material, ['key']));
}

function invalidOptions(problems: readonly Problem[]): MeshError {
  const texts = problems.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
  return new MeshError('InvalidOptions', texts.join('; '));
}
