/** Waiting, with an end that a busy machine does not reach and that a hanging case does not stretch. */
import { until as untilWithin } from '../helpers/until.js';

/** A test of the corpus itself may have less. */
const PATIENCE_MS = Number(process.env.CORPUS_PATIENCE_MS ?? 15_000);

export function until(condition: () => boolean): Promise<void> {
  return untilWithin(condition, PATIENCE_MS);
}
