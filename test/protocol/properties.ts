/** Runs fast-check properties from a seed that the log shows; `QUICMESH_SEED` repeats a run. */
import { randomInt } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';

export function holds<Ts>(t: ExecutionContext, property: fc.IProperty<Ts>, numRuns = 200): void {
  const seed = Number(process.env.QUICMESH_SEED ?? randomInt(2 ** 31));
  t.log(`seed ${seed}, ${numRuns} runs`);
  fc.assert(property, { seed, numRuns });
  t.pass();
}

/** Bytes, most of them few. */
export function byteStrings(maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
}

/** The code of the MeshError that `action` throws; fails on any other outcome. */
export function codeOf(action: () => unknown): MeshErrorCode {
  return errorOf(action).code;
}

/** The MeshError that `action` throws; fails on any other outcome. */
export function errorOf(action: () => unknown): MeshError {
  const error = refusalOf(action);
  if (error === undefined) throw new Error('nothing was thrown');
  return error;
}

/** The MeshError that `action` throws, if it throws at all; fails on errors of another kind. */
export function refusalOf(action: () => unknown): MeshError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw new Error('something else than a MeshError was thrown', { cause: error });
  }
}
