/** How often and when a failed call is made again: by the call's own options, else by the node's. */

import { assertWhole } from '../../base/whole-number.js';
import { isWireErrorCode, MeshError, type MeshErrorCode } from '../../errors.js';
import type { RetryOptions } from '../types.js';

export interface RetryPolicy {
  /** Attempts in all, the first included. */
  readonly attempts: number;
  /** The first pause is a random part of this; the bound doubles for each further pause. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** Codes of the peer's answer after which to try again. */
  readonly codes: readonly MeshErrorCode[];
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 30,
  minDelayMs: 20,
  maxDelayMs: 1000,
  codes: [],
};

export const MAX_ATTEMPTS = 1000;
const MAX_DELAY_MS = 0x7fff_ffff;

/**
 * The policy of one call; `undefined`: it is made only once.
 * @throws MeshError InvalidArgument
 */
export function selectPolicy(
  own: false | RetryOptions | undefined,
  defaults: RetryPolicy,
): RetryPolicy | undefined {
  if (own === undefined) return defaults;
  if (own === false) return undefined;
  const { attempts = defaults.attempts, minDelayMs = defaults.minDelayMs } = own;
  const { maxDelayMs = Math.max(minDelayMs, defaults.maxDelayMs), codes = defaults.codes } = own;
  assertWhole('retry.attempts', attempts, 1, MAX_ATTEMPTS);
  assertWhole('retry.minDelayMs', minDelayMs, 1, MAX_DELAY_MS);
  assertWhole('retry.maxDelayMs', maxDelayMs, minDelayMs, MAX_DELAY_MS);
  if (!Array.isArray(codes) || !codes.every((code) => isWireErrorCode(code))) {
    throw new MeshError('InvalidArgument', 'retry.codes must be error codes that travel');
  }
  return { attempts, minDelayMs, maxDelayMs, codes };
}
