/** What happens to a node's links, as typed events for whoever wants to follow them. */
import type { MeshError } from './errors.js';
import type { PathEvent, Role, SocketAddress, TransportName } from './transport/connection.js';

export type NodeEvent =
  | {
      readonly kind: 'peerUp';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly role: Role;
      readonly remoteAddress: SocketAddress;
    }
  | {
      readonly kind: 'peerDown';
      readonly nodeId: string;
      readonly transport: TransportName;
      /** Code NoError after a close in good order. */
      readonly error: MeshError;
    }
  | ({ readonly nodeId: string; readonly transport: TransportName } & PathEvent)
  | {
      /** Another connection took the place of one that this node dialed; its `peerDown` follows when its calls are done. */
      readonly kind: 'renewed';
      readonly nodeId: string;
      readonly transport: TransportName;
    }
  | {
      /** Calls to the peer go by another transport now: by a preferred one, which did not reach it before. */
      readonly kind: 'transportChanged';
      readonly nodeId: string;
      readonly from: TransportName;
      readonly to: TransportName;
    }
  | {
      /** A dial that nobody waited for, that of `connectEarly`, did not reach its peer or was turned away. */
      readonly kind: 'dialFailed';
      readonly nodeId: string;
      readonly error: MeshError;
    }
  | {
      /** A peer was turned away, or turned away from us after TLS was done. */
      readonly kind: 'refused';
      readonly transport: TransportName;
      readonly remoteAddress: SocketAddress;
      readonly error: MeshError;
    };

/** Events kept for a follower that is slow; beyond that it loses the oldest. */
const MAX_UNREAD = 1024;

/** Hands every event to every follower. */
export class StatusFeed {
  readonly #followers = new Set<Follower>();
  #closed = false;

  emit(event: NodeEvent): void {
    for (const follower of this.#followers) follower.push(event);
  }

  /** Events from now on, until the feed closes or the loop over them is left. */
  follow(): AsyncIterableIterator<NodeEvent> {
    const follower = new Follower(() => this.#followers.delete(follower));
    if (this.#closed) follower.end();
    else this.#followers.add(follower);
    return follower;
  }

  close(): void {
    this.#closed = true;
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
  }
}

class Follower implements AsyncIterableIterator<NodeEvent> {
  readonly #onLeave: () => void;
  readonly #unread: NodeEvent[] = [];
  readonly #waiting: ((result: IteratorResult<NodeEvent>) => void)[] = [];
  #ended = false;

  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  push(event: NodeEvent): void {
    const resolve = this.#waiting.shift();
    if (resolve !== undefined) {
      resolve({ done: false, value: event });
      return;
    }
    this.#unread.push(event);
    if (this.#unread.length > MAX_UNREAD) this.#unread.shift();
  }

  end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<NodeEvent>> {
    const event = this.#unread.shift();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<NodeEvent>> {
    this.#onLeave();
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
