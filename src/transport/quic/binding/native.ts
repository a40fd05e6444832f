/**
 * The one file that loads a QUIC binding: quiche 0.18.0 behind N-API.
 *
 * `@matrixai/quic` has builds for linux-x64, darwin and win32-x64. `@infisical/quic` is a fork of it with the same native
 * interface over the same quiche, and names builds for Linux on ARM besides. It serves where the first does not load and the
 * user has installed it. A binding is loaded when a QUIC transport is first used, so that everything else works without one.
 */
import type { Config, Connection, Host, PathEvent, Quiche } from '@matrixai/quic/native/index.js';
import { textOf } from '../../../base/realms.js';
import { MeshError } from '../../../errors.js';

export type NativeConfig = Config;
/** The binding's own types lack one event, and the `null` for no event. */
export type NativeConnection = Omit<Connection, 'pathEventNext'> & {
  pathEventNext(): NativePathEvent | null;
};
export type NativePathEvent =
  | PathEvent
  | { readonly type: 'FailedValidation'; readonly local: Host; readonly peer: Host };
export type NativeQuic = Quiche;

/** A binding that has loaded. */
export interface NativeBinding {
  readonly packageName: string;
  readonly quiche: NativeQuic;
}

/** In the order in which they are tried. */
const BINDINGS = [
  {
    packageName: '@matrixai/quic',
    load: async () => (await import('@matrixai/quic/native/index.js')).quiche,
  },
  {
    packageName: '@infisical/quic',
    // CommonJS, whose getters Node cannot tell by name.
    load: async () => (await import('@infisical/quic/dist/native/index.js')).default.quiche,
  },
];

/**
 * Loads the first binding that works here.
 * @throws MeshError TransportUnavailable where none has a build for this platform; its `cause` has the reason of each
 */
export async function loadBinding(): Promise<NativeBinding> {
  const causes: unknown[] = [];
  for (const { packageName, load } of BINDINGS) {
    try {
      return { packageName, quiche: await load() };
    } catch (cause) {
      causes.push(cause);
    }
  }
  const names = BINDINGS.map(({ packageName }) => packageName).join(' nor ');
  throw new MeshError(
    'TransportUnavailable',
    `no QUIC binding loads on ${process.platform}-${process.arch}, neither ${names}`,
    { cause: new AggregateError(causes) },
  );
}

/** For those to whom all bindings are one. @throws MeshError as {@link loadBinding} */
export async function loadNative(): Promise<NativeQuic> {
  return (await loadBinding()).quiche;
}

/** A failed call of the binding, whose message is quiche's error in its Debug form, such as `StreamReset(7)`. */
export interface NativeFailure {
  readonly name: string;
  /** The number in parentheses, where there is one. */
  readonly value: number | undefined;
}

/** Reads what the binding threw. */
export function readNativeFailure(thrown: unknown): NativeFailure {
  const message = textOf(thrown);
  const match = /^(\w+)(?:\((\d+)\))?$/.exec(message);
  if (match === null) return { name: message, value: undefined };
  return { name: match[1] as string, value: match[2] === undefined ? undefined : Number(match[2]) };
}
