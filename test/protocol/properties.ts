/** Runs fast-check properties from a seed that the log shows; `QUICMESH_SEED` repeats a run. */
import { randomInt } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';

export function holds<Ts>(t: ExecutionContext, property: fc.IProperty<Ts>, numRuns = 200): void {
  const seed = seedFor(t, numRuns);
  t.notThrows(() => fc.assert(property, { seed, numRuns }));
}

/** The same for properties that take their time. */
export async function holdsAsync<Ts>(
  t: ExecutionContext,
  property: fc.IAsyncProperty<Ts>,
  numRuns = 200,
): Promise<void> {
  const seed = seedFor(t, numRuns);
  await t.notThrowsAsync(fc.assert(property, { seed, numRuns }));
}

function seedFor(t: ExecutionContext, numRuns: number): number {
  const seed = Number(process.env.QUICMESH_SEED ?? randomInt(2 ** 31));
  t.log(`seed ${seed}, ${numRuns} runs`);
  return seed;
}

/** Bytes with some of them overwritten, flipped, cut out, put in or cut off. */
export function damaged(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const damage = fc.record({
    kind: fc.constantFrom('overwrite', 'flip', 'remove', 'insert', 'cutOff'),
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
  });
  return fc.tuple(bytes, fc.array(damage, { maxLength: 3 })).map(([sound, damages]) => {
    const out = [...sound];
    for (const { kind, at, value } of damages) {
      const place = at % (out.length + 1);
      if (kind === 'overwrite') out[place] = value;
      else if (kind === 'flip') out[place] = (out[place] ?? 0) ^ (1 << (value & 7));
      else if (kind === 'remove') out.splice(place, 1 + (value & 3));
      else if (kind === 'insert') out.splice(place, 0, value);
      else out.length = place;
    }
    return Buffer.from(out);
  });
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
