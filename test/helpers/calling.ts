/** Calls that go on while something else happens, and must not fail. */
import type { MeshNode, NodeEvent, Peer } from '../../src/index.js';

/** How long anything is waited for. */
const LIMIT_MS = 60_000;

/** Callers that go on until they are told to stop. */
export interface Calling {
  /** Calls answered so far. */
  readonly answered: number;
  /** Makes no more calls. @returns how many were answered; rejects with what a call failed with */
  stop(): Promise<number>;
}

/** Lets a node answer every query with itself. */
export function serveEcho(...nodes: readonly MeshNode[]): void {
  for (const node of nodes) node.handle('query', ({ query }) => ({ result: query }));
}

/** Calls every peer from `callersEach` loops, one call after the other in each. */
export function keepCalling(peers: readonly Peer[], callersEach = 2): Calling {
  let answered = 0;
  let isStopped = false;
  const loop = async (peer: Peer, name: string): Promise<void> => {
    for (let calls = 0; !isStopped; calls += 1) {
      const query = `${name} ${calls}`;
      const reply = await peer.request({ type: 'queryRequest', query }, { timeoutMs: 60_000 });
      if (reply.result !== query) throw new Error(`${query} was answered by ${reply.result}`);
      answered += 1;
    }
  };
  const loops = Promise.all(
    peers.flatMap((peer, at) =>
      Array.from({ length: callersEach }, (_, n) => loop(peer, `${at}.${n}`)),
    ),
  );
  loops.catch(() => {});
  return {
    get answered() {
      return answered;
    },
    async stop() {
      isStopped = true;
      await loops;
      return answered;
    },
  };
}

/** All events of a node from now on; `next` waits for one that is there or comes. */
export class EventLog {
  readonly events: NodeEvent[] = [];
  #onEvent: (() => void)[] = [];

  constructor(node: MeshNode) {
    void (async () => {
      for await (const event of node.status()) {
        this.events.push(event);
        for (const look of this.#onEvent.splice(0)) look();
      }
    })();
  }

  async next<K extends NodeEvent['kind']>(
    kind: K,
    isWanted: (event: Extract<NodeEvent, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<NodeEvent, { kind: K }>> {
    for (;;) {
      const found = this.events.find(
        (event): event is Extract<NodeEvent, { kind: K }> =>
          event.kind === kind && isWanted(event as Extract<NodeEvent, { kind: K }>),
      );
      if (found !== undefined) return found;
      await this.#nextEvent(kind);
    }
  }

  #nextEvent(awaited: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${awaited} within ${LIMIT_MS} ms of the event before`)),
        LIMIT_MS,
      );
      this.#onEvent.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  has(kind: NodeEvent['kind']): boolean {
    return this.events.some((event) => event.kind === kind);
  }
}
