/**
 * The one file that loads the QUIC binding (`@matrixai/quic`, which is quiche 0.18.0 behind N-API).
 *
 * Builds exist for linux-x64, darwin and win32-x64: the binding is loaded when a QUIC transport is first used,
 * so that everything else works without it.
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

/**
 * Loads the binding.
 * @throws MeshError TransportUnavailable where it has no build for this platform
 */
export async function loadNative(): Promise<NativeQuic> {
  try {
    const { quiche } = await import('@matrixai/quic/native/index.js');
    return quiche;
  } catch (cause) {
    throw new MeshError(
      'TransportUnavailable',
      `the QUIC binding does not load on ${process.platform}-${process.arch}`,
      { cause },
    );
  }
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
