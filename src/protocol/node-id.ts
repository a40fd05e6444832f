/** Node ids: what can be one, and the one way to spell it. Pure. SPEC.md, "Identity". */
import { MeshError } from '../errors.js';

/**
 * The canonical spelling of a node id, in lower case; `undefined` for what cannot be one.
 *
 * A node id is a DNS name: labels of letters, digits and inner hyphens, at most 63 characters each and 253 in all, joined
 * by dots. It is not an IP address. All of that is ASCII, so one spelling stands for each name. Whatever comes from
 * outside (options, targets, certificates, handshakes) passes through here once. Inside, ids are canonical and compare by
 * `===`.
 */
export function canonicalNodeId(text: unknown): string | undefined {
  return typeof text === 'string' && isDnsName(text) ? text.toLowerCase() : undefined;
}

/**
 * Like {@link canonicalNodeId}, for what a caller passes in.
 * @throws {MeshError} `InvalidArgument` for what cannot be a node id
 */
export function requireNodeId(text: unknown): string {
  const id = canonicalNodeId(text);
  if (id !== undefined) return id;
  throw new MeshError(
    'InvalidArgument',
    `${quote(text)} cannot be a node id: it must be a DNS name (letters, digits, "-" and ".")`,
  );
}

/** Whether two texts are spellings of one node id. Texts that cannot be node ids are the same as nothing. */
export function sameNodeId(a: string, b: string): boolean {
  const id = canonicalNodeId(a);
  return id !== undefined && id === canonicalNodeId(b);
}

/**
 * Throws unless every text can be a node id, and no two of them are the same name.
 *
 * @throws {MeshError} `InvalidArgument`
 */
export function assertNodeIds(nodeIds: readonly string[]): void {
  const seen = new Set<string>();
  for (const text of nodeIds) {
    const id = requireNodeId(text);
    if (seen.has(id)) {
      throw new MeshError('InvalidArgument', `the node id ${quote(text)} is given twice`);
    }
    seen.add(id);
  }
}

const MAX_NAME_CHARACTERS = 253;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;
/** Four numbers are an IPv4 address, or are taken for one, or look like one. */
const FOUR_NUMBERS = /^\d+\.\d+\.\d+\.\d+$/;

/** Whether a text is a DNS name, and no IPv4 address. */
export function isDnsName(text: string): boolean {
  if (text.length > MAX_NAME_CHARACTERS || FOUR_NUMBERS.test(text)) return false;
  return text.split('.').every((label) => LABEL.test(label));
}

/** Untrusted text for a message: quoted, escaped, and not too long. Never throws. */
export function quote(text: unknown): string {
  return typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : `a ${typeof text}`;
}
