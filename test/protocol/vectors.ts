/** The test vectors of `test/vectors`, read. Their own headers say how. */
import { readdirSync, readFileSync } from 'node:fs';
import type { MeshErrorCode } from '../../src/errors.js';
import type { Capabilities } from '../../src/protocol/index.js';
import { type Agreed, DEFAULT_AGREED } from './naive/receive.js';

const DIRECTORY = new URL('../vectors/', import.meta.url);

interface VectorFile<V> {
  readonly description: string;
  readonly spec: readonly string[];
  readonly howToRead: readonly string[];
  readonly vectors: readonly V[];
}

/** A frame, and what it is to become. */
export interface FrameVector {
  readonly name: string;
  readonly hex: string;
  readonly note?: string;
  readonly options?: Partial<Agreed>;
  readonly expect:
    | { readonly error: MeshErrorCode }
    | { readonly incomplete: true }
    | {
        readonly flags: string;
        readonly messageId: number;
        readonly compression: 'none' | 'lz4' | 'zstd';
        readonly message?: { readonly type: string };
        readonly reset?: { readonly code: MeshErrorCode; readonly reason: string };
        readonly credit?: number;
        readonly goAway?: number;
      };
}

/** A handshake request, who judges it, and the verdict. */
export interface RequestVector {
  readonly name: string;
  readonly hex: string;
  readonly acceptor: {
    readonly nodeId: string;
    readonly cluster: string;
    readonly versions: readonly number[];
    readonly capabilities: Capabilities;
    readonly authToken?: string;
    readonly certifiedNodeIds: readonly string[];
    readonly nowMs: number;
    readonly isFull?: boolean;
    readonly seenNonces?: readonly string[];
    readonly maxNonces?: number;
  };
  readonly expect:
    | {
        readonly accepted: true;
        readonly version: number;
        readonly capabilities: Capabilities;
        readonly connectionClass?: string;
        /** Default 0. */
        readonly padBytes?: number;
        /** Default `'n1'`. */
        readonly peerNodeId?: string;
      }
    | { readonly accepted: false; readonly error: MeshErrorCode };
}

/** A handshake response, who judges it, and the verdict. */
export interface ResponseVector {
  readonly name: string;
  readonly hex: string;
  readonly dialer: {
    readonly cluster: string;
    readonly versions: readonly number[];
    readonly capabilities: Capabilities;
    readonly certifiedNodeIds: readonly string[];
    readonly expectedNodeId: string | null;
    readonly padBytes?: number;
  };
  readonly expect:
    | { readonly error: MeshErrorCode }
    | {
        readonly version: number;
        readonly peerNodeId: string;
        readonly capabilities: Capabilities;
        readonly maxOutgoingStreams: number;
        readonly maxIncomingStreams: number;
      };
}

/** The source of a knock's key: the name of a certificate of the file, or a secret. */
export type KnockKeySource = { readonly ca: string } | { readonly secret: string };

/** A knock, how it was made, who judges it, and the verdict. */
export interface KnockVector {
  readonly name: string;
  readonly hex: string;
  readonly random: string;
  readonly madeAtMs: number;
  readonly isAltered?: boolean;
  readonly dialer: {
    readonly key: KnockKeySource;
    readonly cluster: string;
    readonly transport: 'quic' | 'tcp';
    readonly nodeId: string | null;
  };
  readonly listener: {
    readonly keys: readonly KnockKeySource[];
    readonly cluster: string;
    readonly transport: 'quic' | 'tcp';
    readonly nodeId: string;
    readonly nowMs: number;
  };
  readonly expect: { readonly slot: number } | { readonly refused: true };
}

/** Knocks, and the certificates that their keys follow from, in hex. */
export interface KnockFile extends VectorFile<KnockVector> {
  readonly certificates: Readonly<Record<string, string>>;
}

/** The first bytes on a socket, and what a listener makes of them. */
export interface HelloVector {
  readonly name: string;
  readonly hex: string;
  readonly expect:
    | { readonly knock: string | null }
    | { readonly incomplete: true }
    | { readonly refused: true };
}

/** Calls that arrive, each with the number of its copies, and which of them are run. */
export interface CopiesVector {
  readonly name: string;
  readonly arrive: readonly number[];
  readonly expect: { readonly run: readonly boolean[] };
}

/** Every file, by its name. */
export const FILES: readonly string[] = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.json'))
  .sort();

/** The files whose vectors are frames. */
export const FRAME_FILES: readonly string[] = FILES.filter(
  (name) =>
    !name.startsWith('handshake') &&
    !['knocks.json', 'client-hellos.json', 'copies.json'].includes(name),
);

export function readFrameVectors(file: string): VectorFile<FrameVector> {
  return readVectors(file);
}

/** @param file with special values left as JSON writes them */
export function readVectors<V>(file: string): VectorFile<V> {
  return JSON.parse(readFileSync(new URL(file, DIRECTORY), 'utf8')) as VectorFile<V>;
}

/** What a vector says was agreed. */
export function agreedOf({ options }: FrameVector): Agreed {
  return { ...DEFAULT_AGREED, ...options };
}

/** What a vector expects, with its special values as JavaScript has them, in the shape that receivers give. */
export function expectedOf({ expect }: FrameVector): object {
  if ('error' in expect || 'incomplete' in expect) return expect;
  return { ...(valueIn(expect) as typeof expect), flags: Number(expect.flags) };
}

/** JSON to values: `{"hex": …}`, `{"int": …}`, `{"float": …}` and `{"undefined": true}` are not maps. */
function valueIn(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(valueIn);
  if (typeof json !== 'object' || json === null) return json;
  const entries = Object.entries(json);
  const [key, value] = entries.length === 1 ? (entries[0] as [string, unknown]) : [];
  if (key === 'hex') return Buffer.from(value as string, 'hex');
  if (key === 'int') return BigInt(value as string);
  if (key === 'float') return Number(value);
  if (key === 'undefined') return undefined;
  return Object.fromEntries(entries.map(([name, each]) => [name, valueIn(each)]));
}
