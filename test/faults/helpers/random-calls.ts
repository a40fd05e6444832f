/** Calls of every kind, with deadlines, cancellations and peers that misbehave, as a seed has them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../../scripts/fuzz/random.js';
import { type CallContext, MeshError, type MeshNode, type Peer } from '../../../src/index.js';
import type { RandomCallsOptions, RandomCallsState } from './protocol.js';

/** What the peer is asked to do with a call. */
const ORDERS = ['answer', 'answerLater', 'answerLarge', 'fail', 'neverAnswer'] as const;
type Order = (typeof ORDERS)[number];

const KINDS = ['request', 'query', 'send', 'ping', 'upload', 'download'] as const;
const CHUNK = Buffer.alloc(2000, 'c');
const LARGE = Buffer.alloc(1024 * 1024, 'l');
/** Beyond its deadline: a call that has not settled by then never will. */
const GRACE_MS = 10_000;
const LONG_MS = 5000;
const AWAY_PAUSE_MS = 200;

/** Serves what {@link RandomCalls} asks. */
export function handleRandomCalls(node: MeshNode): void {
  node.handle('consensus', () => ({
    body: { kind: 'requestVoteResponse', term: 1, voteGranted: true },
  }));
  node.handle('dataTransfer', async function* ({ metadata }, { body, signal }) {
    const { order, chunks } = metadata as { order: Order; chunks: number };
    if (order === 'fail') throw new Error('as it was asked');
    if (order === 'neverAnswer') await untilAborted(signal);
    if (order === 'answer') for await (const chunk of body) yield chunk;
    for (let sent = 0; sent < chunks; sent += 1) yield CHUNK;
  });
}

/** Does with a call what it asks for. @param order the call's body */
export function obey(order: unknown, { signal }: CallContext): object | Promise<object> {
  switch (order as Order) {
    case 'answerLater':
      return sleep(5, { body: 'later' }, { signal });
    case 'answerLarge':
      return { body: LARGE };
    case 'fail':
      throw new Error('as it was asked');
    case 'neverAnswer':
      return untilAborted(signal);
    default:
      return { body: 'now' };
  }
}

export function isOrder(value: unknown): boolean {
  return ORDERS.includes(value as Order);
}

export class RandomCalls {
  readonly #peer: Peer;
  readonly #options: RandomCallsOptions;
  readonly #random: Random;
  readonly #failures = new Map<string, number>();
  #begun = 0;
  #answered = 0;
  #failed = 0;
  #stuck = 0;

  constructor(peer: Peer, options: RandomCallsOptions) {
    this.#peer = peer;
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  /** Makes all the calls, so many at a time. */
  start(): void {
    for (let lane = 0; lane < this.#options.concurrency; lane += 1) void this.#callOnAndOn();
  }

  get state(): RandomCallsState {
    const { connections } = this.#peer;
    return {
      begun: this.#begun,
      answered: this.#answered,
      failed: this.#failed,
      stuck: this.#stuck,
      failures: [...this.#failures],
      unsettled: connections
        .map(({ calls }) => calls.sent - calls.succeeded - calls.failed)
        .reduce((sum, each) => sum + each, 0),
    };
  }

  async #callOnAndOn(): Promise<void> {
    while (this.#begun < this.#options.calls) {
      this.#begun += 1;
      await this.#settled(this.#call());
      // Calls that fail at once, for want of a connection, would soon be all of them.
      if (!this.#peer.isConnected) await sleep(AWAY_PAUSE_MS);
    }
  }

  /** Counts how a call ends. One that does not is not waited for. */
  async #settled(call: Promise<unknown>): Promise<void> {
    const limit = new AbortController();
    const late = sleep(LONG_MS + GRACE_MS, 'late', { signal: limit.signal });
    late.catch(() => {});
    const end = call.then(
      () => {
        this.#answered += 1;
      },
      (thrown: unknown) => {
        this.#failed += 1;
        const code = thrown instanceof MeshError ? thrown.code : `no MeshError: ${thrown}`;
        this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
      },
    );
    if ((await Promise.race([end, late])) === 'late') this.#stuck += 1;
    limit.abort();
  }

  async #call(): Promise<unknown> {
    const random = this.#random;
    const kind = random.pick(KINDS);
    const order = orderFor(random.fraction());
    // A call that is never answered ends by its deadline, or is cancelled: one of the two comes soon.
    const timeoutMs = random.oneIn(5) || order === 'neverAnswer' ? 1 + random.below(60) : LONG_MS;
    const replaySafe = random.oneIn(2);
    const abort = new AbortController();
    const cancelAfterMs = random.oneIn(4) ? random.below(15) : undefined;
    const timer =
      cancelAfterMs === undefined ? undefined : setTimeout(() => abort.abort(), cancelAfterMs);
    if (cancelAfterMs === 0) abort.abort();
    const options = { timeoutMs, signal: abort.signal };
    try {
      return await this.#make(kind, order, { ...options, replaySafe });
    } finally {
      clearTimeout(timer);
    }
  }

  #make(
    kind: (typeof KINDS)[number],
    order: Order,
    options: { timeoutMs: number; signal: AbortSignal; replaySafe: boolean },
  ): Promise<unknown> {
    const peer = this.#peer;
    const { timeoutMs, signal } = options;
    switch (kind) {
      case 'ping':
        return peer.ping(options);
      case 'query':
        return peer.request({ type: 'queryRequest', query: order }, options);
      case 'send':
        return peer.send({ type: 'request', method: 'random', body: order }, { timeoutMs, signal });
      case 'request':
        return peer.request({ type: 'request', method: 'random', body: order }, options);
      case 'upload':
      case 'download':
        return this.#transfer(kind, order, { timeoutMs, signal });
    }
  }

  async #transfer(
    kind: 'upload' | 'download',
    order: Order,
    options: { timeoutMs: number; signal: AbortSignal },
  ): Promise<void> {
    const chunks = this.#random.below(10);
    // Some readers leave in the middle, which resets the stream.
    const leaveAfter = this.#random.oneIn(5) ? this.#random.below(3) : 1000;
    const body = kind === 'upload' ? Array.from({ length: chunks }, () => CHUNK) : undefined;
    const open = { transferId: `${kind} ${this.#begun}`, metadata: { order, chunks } };
    let read = 0;
    for await (const chunk of this.#peer.stream(open, { ...options, body })) {
      read += 1;
      if (chunk.length === 0 || read > leaveAfter) break;
    }
  }
}

function orderFor(chance: number): Order {
  if (chance < 0.6) return 'answer';
  if (chance < 0.8) return 'answerLater';
  return chance < 0.9 ? 'fail' : 'neverAnswer';
}

/** Never fulfils. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
