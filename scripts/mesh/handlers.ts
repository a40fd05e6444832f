/** What every node of the demonstration serves: a small replicated store, held in memory. */
import { randomUUID } from 'node:crypto';
import {
  type CallContext,
  type Consensus,
  type DataTransfer,
  type HandlerResults,
  MeshError,
  type MeshNode,
  type QueryRequest,
  type ReplicationLog,
  type Request,
} from '../../src/index.js';
import { pseudoRandomBytes } from './pseudo-random.js';
import { Uploads } from './uploads.js';

/** One-way messages that arrived from one node. */
export interface OneWayCounts {
  replicationLog: number;
  consensus: number;
}

/** Lets a node serve all five kinds of calls. @returns where it counts what came */
export function serveStore(node: MeshNode): Received {
  const store = new Store();
  node.handle('query', (request, context) => store.query(request, context));
  node.handle('replicationLog', (request, context) => store.replicate(request, context));
  node.handle('consensus', (request, context) => store.vote(request, context));
  node.handle('dataTransfer', (request, context) => store.transfer(request, context));
  node.handle('request', (request, context) => store.answer(request, context));
  return store;
}

/** One-way messages that arrived. */
export interface Received {
  /** By sender. */
  readonly received: Readonly<Record<string, OneWayCounts>>;
  /** Counts those of that node from 0 again: its process has ended, and the next counts for itself. */
  forget(nodeId: string): void;
}

/** Every node leads a Raft group of its own and replicates its own log, so that no two wait for each other. */
class Store implements Received {
  /** Tells a store from the one that the process before it held. */
  readonly #life = randomUUID();
  readonly #rows = new Map<string, { value: unknown; version: number }>();
  readonly #lastIndex = new Map<string, number>();
  readonly #terms = new Map<string, number>();
  readonly #oneWay = new Map<string, OneWayCounts>();
  readonly #uploads = new Uploads();

  get received(): Readonly<Record<string, OneWayCounts>> {
    return Object.fromEntries(this.#oneWay);
  }

  forget(nodeId: string): void {
    this.#oneWay.delete(nodeId);
  }

  /**
   * `put` with a key and a value answers the row's version; `get` with a key answers the value. Both tell which life of
   * the store it is.
   */
  query({ query, parameters }: QueryRequest, { peer }: CallContext): HandlerResults['query'] {
    const { key, value } = parameters as { key: string; value?: unknown };
    // A row belongs to who wrote it.
    const rowKey = `${peer.nodeId}/${key}`;
    const row = this.#rows.get(rowKey);
    const life = this.#life;
    if (query === 'get') return { result: { value: row?.value ?? null, life } };
    if (query !== 'put') throw new Error(`unknown query ${query}`);
    const version = (row?.version ?? 0) + 1;
    this.#rows.set(rowKey, { value, version });
    return { result: { version, life } };
  }

  /** Acknowledges what it took: how many entries, how many bytes, and up to where the log goes now. */
  replicate(
    { entries, oneWay }: ReplicationLog,
    { peer }: CallContext,
  ): HandlerResults['replicationLog'] {
    let bytes = 0;
    let lastIndex = this.#lastIndex.get(peer.nodeId) ?? 0;
    for (const entry of entries) {
      bytes += entry.data.length;
      lastIndex = Math.max(lastIndex, entry.index);
    }
    this.#lastIndex.set(peer.nodeId, lastIndex);
    if (oneWay === true) this.#oneWayFrom(peer.nodeId).replicationLog += 1;
    return { body: { stored: entries.length, bytes, lastIndex } };
  }

  /** A transfer with a `seed` asks for that many pseudo-random bytes; any other brings bytes and wants their SHA-256. */
  transfer(request: DataTransfer, context: CallContext): HandlerResults['dataTransfer'] {
    const { seed } = (request.metadata ?? {}) as { seed?: number };
    if (seed !== undefined) return pseudoRandomBytes(seed, request.totalBytes ?? 0);
    return this.#uploads.receive(request, context);
  }

  /** A follower as in Raft's figure 2, without the log's consistency check. */
  vote({ body, oneWay }: Consensus, { peer }: CallContext): HandlerResults['consensus'] {
    const known = this.#terms.get(peer.nodeId) ?? 0;
    const term = Math.max(known, body.term);
    this.#terms.set(peer.nodeId, term);
    if (oneWay === true) this.#oneWayFrom(peer.nodeId).consensus += 1;
    if (body.kind === 'requestVote') {
      return { body: { kind: 'requestVoteResponse', term, voteGranted: body.term > known } };
    }
    if (body.kind !== 'appendEntries') throw new Error(`a follower does not take ${body.kind}`);
    if (body.term < known) return { body: { kind: 'appendEntriesResponse', term, success: false } };
    const matchIndex = body.prevLogIndex + body.entries.length;
    return { body: { kind: 'appendEntriesResponse', term, success: true, matchIndex } };
  }

  /** `echo` answers its body, `refuse` fails, `received` tells the caller how many of its one-way messages came. */
  answer({ method, body }: Request, { peer }: CallContext): HandlerResults['request'] {
    if (method === 'echo') return { body };
    if (method === 'received') return { body: { ...this.#oneWayFrom(peer.nodeId) } };
    if (method === 'refuse') throw new MeshError('Overloaded', 'refused, as the caller wished');
    throw new Error(`unknown method ${method}`);
  }

  #oneWayFrom(nodeId: string): OneWayCounts {
    let counts = this.#oneWay.get(nodeId);
    if (counts === undefined) {
      counts = { replicationLog: 0, consensus: 0 };
      this.#oneWay.set(nodeId, counts);
    }
    return counts;
  }
}
