/** The events of a node's connections, and how to follow them. */
import type { MeshError } from '../errors.js';
import type { MemberStateKind } from '../pool/member.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import type { PathEvent, Role, SocketAddress, TransportName } from '../transport/connection.js';

/** What happens to a node and its links. `kind` says which event it is. */
export type NodeEvent =
  | {
      readonly kind: 'peerUp';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly connectionClass: ConnectionClass;
      readonly role: Role;
      readonly remoteAddress: SocketAddress;
    }
  | {
      readonly kind: 'peerDown';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly connectionClass: ConnectionClass;
      /** Code NoError after a close in good order. */
      readonly error: MeshError;
    }
  | ({ readonly nodeId: string; readonly transport: TransportName } & PathEvent)
  | {
      /** Another connection took the place of one that this node dialed; its `peerDown` follows when its calls are done. */
      readonly kind: 'renewed';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly connectionClass: ConnectionClass;
    }
  | {
      /** Calls to the peer use another transport now: one failed, or a preferred one reaches the peer again. */
      readonly kind: 'transportChanged';
      readonly nodeId: string;
      readonly from: TransportName;
      readonly to: TransportName;
    }
  | {
      /** A dial that nobody waited for failed: it did not reach its peer, or was refused. */
      readonly kind: 'dialFailed';
      readonly nodeId: string;
      readonly error: MeshError;
      /** Until the next dial; `undefined` when there will be none by itself. */
      readonly retryInMs: number | undefined;
    }
  | {
      /** A connection gives no sign of life. Others take its calls until it does again or is given up. */
      readonly kind: 'suspected';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly connectionClass: ConnectionClass;
    }
  | {
      /** A suspect connection gives signs of life again. */
      readonly kind: 'recovered';
      readonly nodeId: string;
      readonly transport: TransportName;
      readonly connectionClass: ConnectionClass;
    }
  | {
      /** A step in the life of a connection, from the beginning of its dial; for those who ask for these. */
      readonly kind: 'connectionChanged';
      readonly nodeId: string;
      /** `undefined` while it is dialed. */
      readonly transport: TransportName | undefined;
      readonly connectionClass: ConnectionClass;
      readonly from: MemberStateKind | undefined;
      readonly to: MemberStateKind;
    }
  | {
      /** The node uses other certificates now, see `reloadTls`. This describes its own. */
      readonly kind: 'tlsReloaded';
      readonly fingerprint256: string;
      readonly validToMs: number;
    }
  | {
      /** This node refused a peer, or a peer refused this node after TLS was done. */
      readonly kind: 'refused';
      readonly transport: TransportName;
      readonly remoteAddress: SocketAddress;
      readonly error: MeshError;
    };

/** Which events a follower gets. */
export interface StatusOptions {
  /**
   * Whether to report every change of every connection too: `connectionChanged`, `datagramSizeChanged`.
   * Default false.
   */
  readonly connections?: boolean | undefined;
}

/** Events kept for a slow follower. Beyond that it loses the oldest. */
const MAX_UNREAD = 1024;

/** Hands every event to every follower. */
export class StatusFeed {
  readonly #followers = new Set<Follower>();
  #closed = false;

  emit(event: NodeEvent): void {
    const isDetail = event.kind === 'connectionChanged' || event.kind === 'datagramSizeChanged';
    for (const follower of this.#followers) {
      if (!isDetail || follower.wantsConnections) follower.push(event);
    }
  }

  /** Events from now on, until the feed closes or the loop over them is left. */
  follow({ connections = false }: StatusOptions = {}): AsyncIterableIterator<NodeEvent> {
    const follower = new Follower(connections, () => this.#followers.delete(follower));
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
  readonly wantsConnections: boolean;
  readonly #onLeave: () => void;
  readonly #unread: NodeEvent[] = [];
  readonly #waiting: ((result: IteratorResult<NodeEvent>) => void)[] = [];
  #ended = false;

  constructor(wantsConnections: boolean, onLeave: () => void) {
    this.wantsConnections = wantsConnections;
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
