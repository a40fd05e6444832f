/** Two connected nodes whose handlers are found by what a call names, so that many tests can share them. */
import type {
  HandledMessages,
  Handler,
  HandlerKind,
  MeshNode,
  Peer,
  PeerConnection,
} from '../../../src/index.js';
import type { PairOfNodes } from '../calls-suite.js';

/** What a message names: the key of its handler. */
const KEY_OF: { readonly [K in HandlerKind]: (message: HandledMessages[K]) => string | undefined } =
  {
    query: ({ query }) => query,
    replicationLog: ({ group }) => group,
    consensus: ({ group }) => group,
    dataTransfer: ({ transferId }) => transferId,
    request: ({ method }) => method,
  };

type AnyHandler = Handler<HandlerKind>;

export class Stage {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  /** n2, as n1 sees it: n1 has dialed. */
  readonly peer: Peer;
  /** n1, as n2 sees it. */
  readonly back: Peer;
  readonly #pair: PairOfNodes;
  readonly #serving: Serving;
  readonly #servingBack: Serving;

  /** Connects the nodes. */
  static async set(pair: PairOfNodes): Promise<Stage> {
    const { n1, n2, target } = pair;
    const peer = await n1.connect(target);
    const back = n2.peer('n1');
    if (back === undefined) throw new Error('n2 has not noticed n1');
    return new Stage(pair, peer, back);
  }

  private constructor(pair: PairOfNodes, peer: Peer, back: Peer) {
    this.#pair = pair;
    this.n1 = pair.n1;
    this.n2 = pair.n2;
    this.peer = peer;
    this.back = back;
    this.#serving = new Serving(pair.n2);
    this.#servingBack = new Serving(pair.n1);
  }

  get target(): PairOfNodes['target'] {
    return this.#pair.target;
  }

  /** Has n2 answer the calls of one kind that name `key`; each key of a kind once. */
  serve<K extends HandlerKind>(kind: K, key: string, handler: Handler<K>): void {
    this.#serving.register(kind, key, handler);
  }

  /** The same of n1. */
  serveBack<K extends HandlerKind>(kind: K, key: string, handler: Handler<K>): void {
    this.#servingBack.register(kind, key, handler);
  }

  /** The one connection, as n1 sees it. */
  get connection(): PeerConnection {
    return onlyOf(this.peer);
  }

  /** The same, as n2 sees it. */
  get connectionBack(): PeerConnection {
    return onlyOf(this.back);
  }

  /** See PairOfNodes. */
  cut(): () => void {
    return this.#pair.cut();
  }
}

/**
 * Makes a call with more and more time until its handler has begun within that: on a busy machine, and among others, a
 * call may not leave before its time is over.
 */
export async function untilBegun(
  hasBegun: () => boolean,
  call: (timeoutMs: number) => Promise<void>,
): Promise<void> {
  for (let timeoutMs = 100; !hasBegun(); timeoutMs *= 2) await call(timeoutMs);
}

function onlyOf(peer: Peer): PeerConnection {
  const { connections } = peer;
  const [connection] = connections;
  if (connection === undefined || connections.length > 1) {
    throw new Error(`${connections.length} connections to ${peer.nodeId}`);
  }
  return connection;
}

/** The handlers of one node, which has one of its own for each kind that any of them is of. */
class Serving {
  readonly #node: MeshNode;
  readonly #handlers = new Map<string, AnyHandler>();
  readonly #kinds = new Set<HandlerKind>();

  constructor(node: MeshNode) {
    this.#node = node;
  }

  register<K extends HandlerKind>(kind: K, key: string, handler: Handler<K>): void {
    const place = `${kind} ${key}`;
    if (this.#handlers.has(place)) throw new Error(`${place} is served already`);
    this.#handlers.set(place, handler as unknown as AnyHandler);
    if (this.#kinds.has(kind)) return;
    this.#kinds.add(kind);
    this.#node.handle(kind, ((message, context) => {
      const named = KEY_OF[kind](message);
      const found = this.#handlers.get(`${kind} ${named}`);
      if (found === undefined) throw new Error(`${kind} ${named} is not served`);
      return found(message, context);
    }) as Handler<K>);
  }
}
