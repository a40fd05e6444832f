/** The error that a stream ends with when somebody breaks it off. */
import { MeshError, toMeshError } from '../../errors.js';

/** @param reason what was given as the reason, if anything was */
export function cancelledStream(reason: unknown): MeshError {
  if (reason !== undefined && reason !== null) return toMeshError(reason, 'Cancelled');
  return new MeshError('Cancelled', 'the stream was broken off');
}
