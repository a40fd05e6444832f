/**
 * What every call does, whatever carries it. Run unchanged on memory, TCP and QUIC, through the public face alone:
 * nodes, peers, handlers.
 */
import type { ExecutionContext, TestFn } from 'ava';
import type { MeshNode, NodeOptions, TransportName } from '../../src/index.js';
import { cancellation } from './calls/cancellation.js';
import { closing } from './calls/closing.js';
import { deadlines } from './calls/deadlines.js';
import { handlerErrors } from './calls/handler-errors.js';
import { loss } from './calls/loss.js';
import { messageSizes } from './calls/message-sizes.js';
import { observing } from './calls/observing.js';
import { oneWay } from './calls/one-way.js';
import { redundancy } from './calls/redundancy.js';
import { requests } from './calls/requests.js';
import { Stage } from './calls/stage.js';
import { transferEnds } from './calls/transfer-ends.js';
import { transfers } from './calls/transfers.js';
import { values } from './calls/values.js';

/** Two nodes that are not connected yet: n1 is to dial n2. */
export interface PairOfNodes {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  /** Where n1 finds n2. */
  readonly target: { readonly nodeId: string; readonly host: string; readonly port: number };
  /**
   * Ends the connections that there are without a word. The answer lets others come about. Only of a pair that
   * `isCuttable`.
   */
  cut(): () => void;
  /** Closes both, and all that was made for them. */
  close(): Promise<void>;
}

export interface PairOfNodesOptions {
  readonly n1?: Partial<NodeOptions>;
  readonly n2?: Partial<NodeOptions>;
  readonly isCuttable?: boolean;
}

/** Where behaviours are told. */
export interface CallsSuite {
  readonly transport: TransportName;
  /** On nodes, connected by one connection, that all such tests share: they leave them as they are, and send no bulk. */
  shared(title: string, run: (t: ExecutionContext, stage: Stage) => Promise<void>): void;
  /** On nodes of its own, connected too. */
  own(
    title: string,
    options: PairOfNodesOptions,
    run: (t: ExecutionContext, stage: Stage) => Promise<void>,
  ): void;
}

/** Registers the suite's tests under a transport's name, or one that says more. */
export function callsSuite(
  test: TestFn,
  transport: TransportName,
  createPairOfNodes: (options: PairOfNodesOptions) => Promise<PairOfNodes>,
  name: string = transport,
): void {
  let pair: PairOfNodes | undefined;
  let common: Stage | undefined;
  test.before(async () => {
    pair = await createPairOfNodes({});
    common = await Stage.set(pair);
  });
  test.after.always(async () => {
    await pair?.close();
  });
  const turns = new Turns(MAX_PAIRS);
  const suite: CallsSuite = {
    transport,
    shared(title, run) {
      test(`${name}: ${title}`, (t) => run(t, common as Stage));
    },
    own(title, options, run) {
      // Who takes silence for a cut wire soon must not be kept waiting by other tests.
      const register = options.isCuttable === true ? test.serial : test;
      register(`${name}: ${title}`, async (t) => {
        await turns.take();
        t.teardown(() => turns.done());
        const pair = await createPairOfNodes(options);
        t.teardown(() => pair.close());
        await run(t, await Stage.set(pair));
      });
    },
  };
  for (const behaviours of [
    requests,
    values,
    messageSizes,
    deadlines,
    cancellation,
    handlerErrors,
    oneWay,
    redundancy,
    transfers,
    transferEnds,
    loss,
    closing,
    observing,
  ]) {
    behaviours(suite);
  }
}

/** All at once they would keep the process from everything else for most of a second, which paces QUIC for long. */
const MAX_PAIRS = 4;

/** Lets so many go on at once. */
class Turns {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(most: number) {
    this.#free = most;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  done(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
