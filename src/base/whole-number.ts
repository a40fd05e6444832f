/** Checks a number that a caller passes. */
import { MeshError } from '../errors.js';

/** @throws MeshError InvalidArgument unless it is a whole number within both bounds */
export function assertWhole(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  const text = `${name} must be a whole number from ${min} to ${max}, not ${value}`;
  throw new MeshError('InvalidArgument', text);
}
