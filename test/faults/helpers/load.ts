/** Calls at a steady rate over one peer, each with an id of its own, and how each of them went. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MeshError, type Peer } from '../../../src/index.js';
import { monotonicMs } from './clock.js';
import type { LoadOptions, Outcome, ReplaySafeShare } from './protocol.js';

/** Beyond its timeout: a call that has not settled by then never will. */
const GRACE_MS = 5000;
const TICK_MS = 5;

export class Load {
  readonly #peer: Peer;
  readonly #options: LoadOptions;
  readonly #outcomes: Outcome[] = [];
  readonly #pending = new Set<Promise<void>>();
  readonly #beganMs = monotonicMs();
  readonly #timer: NodeJS.Timeout;

  /** Begins at once. */
  constructor(peer: Peer, options: LoadOptions) {
    this.#peer = peer;
    this.#options = options;
    this.#callWhatIsDue();
    this.#timer = setInterval(() => this.#callWhatIsDue(), TICK_MS);
  }

  /** Fulfils once all calls have settled; those that should have by far are left as they are. */
  async stop(): Promise<readonly Outcome[]> {
    clearInterval(this.#timer);
    const limit = new AbortController();
    const late = sleep(this.#options.timeoutMs + GRACE_MS, undefined, { signal: limit.signal });
    await Promise.race([Promise.all(this.#pending), late]);
    late.catch(() => {});
    limit.abort();
    return this.#outcomes;
  }

  #callWhatIsDue(): void {
    const { perSecond, burst = 1 } = this.#options;
    const due = burst + Math.floor(((monotonicMs() - this.#beganMs) * perSecond) / 1000);
    while (this.#outcomes.length < due) {
      const call = this.#call(this.#outcomes.length).finally(() => this.#pending.delete(call));
      this.#pending.add(call);
    }
  }

  async #call(index: number): Promise<void> {
    const { name, timeoutMs, replaySafe, heartbeats } = this.#options;
    const isReplaySafe = isSafe(replaySafe, index);
    const id = `${name}-${index}`;
    const outcome: Outcome = { id, isReplaySafe, beganMs: monotonicMs() };
    this.#outcomes.push(outcome);
    try {
      if (heartbeats === true) await this.#peer.ping({ timeoutMs });
      const answer =
        heartbeats === true
          ? id
          : await ask(this.#peer, id, index, { timeoutMs, replaySafe: isReplaySafe });
      if (answer !== id) outcome.code = `another call's answer: ${String(answer)}`;
    } catch (thrown) {
      outcome.code = thrown instanceof MeshError ? thrown.code : String(thrown);
      outcome.maybeExecuted = thrown instanceof MeshError ? thrown.maybeExecuted : true;
    }
    outcome.settledMs = monotonicMs();
  }
}

/** Of both kinds of calls, some are replay-safe and some are not. */
function isSafe(share: ReplaySafeShare, index: number): boolean {
  return share === 'half' ? index % 2 === 0 : share === 'all';
}

async function ask(
  peer: Peer,
  id: string,
  index: number,
  options: { timeoutMs: number; replaySafe: boolean },
): Promise<unknown> {
  if (index % 4 < 2)
    return (await peer.request({ type: 'queryRequest', query: id }, options)).result;
  return (await peer.request({ type: 'request', method: id }, options)).body;
}
