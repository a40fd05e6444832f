/**
 * TLS sessions to resume: what a dialer keeps of a connection, so that the next one can carry 0-RTT data. RFC 8446,
 * section 2.2; SPEC.md, "Early data".
 */

/**
 * Keeps sessions for a dialer. Its methods must not throw; one that does costs the resumption, not the connection.
 *
 * A session holds secrets: whoever reads it can read what is sent as 0-RTT data with it, and take this node's place on
 * a resumed connection. A store that writes it anywhere must guard it as it would the node's key.
 */
export interface SessionStore {
  /**
   * Keeps a session. `key` names the peer, the CA and this node's certificate, and is opaque.
   * @param session owned by the store from here on
   * @param expiresAtMs in milliseconds since 1970; it is of no use after that
   */
  put(key: string, session: Uint8Array, expiresAtMs: number): void;
  /** A session for that key, which the store then has no more: a session used twice links its connections. */
  take(key: string): Uint8Array | undefined;
}

/** How many sessions a {@link MemorySessionStore} keeps. */
export interface MemorySessionStoreOptions {
  /** Peers whose sessions are kept; beyond that, those of the peer met longest ago go. Default 1024. */
  readonly maxPeers?: number | undefined;
  /** Sessions of one peer; beyond that, the oldest goes. Default 4. */
  readonly maxPerPeer?: number | undefined;
}

interface KeptSession {
  readonly session: Uint8Array;
  readonly expiresAtMs: number;
}

/** Sessions in memory, gone with the process. */
export class MemorySessionStore implements SessionStore {
  readonly #maxPeers: number;
  readonly #maxPerPeer: number;
  /** The peer met last comes last; so does the newest of its sessions. */
  readonly #kept = new Map<string, KeptSession[]>();

  constructor({ maxPeers = 1024, maxPerPeer = 4 }: MemorySessionStoreOptions = {}) {
    this.#maxPeers = maxPeers;
    this.#maxPerPeer = maxPerPeer;
  }

  /** Sessions held now. */
  get size(): number {
    let size = 0;
    for (const sessions of this.#kept.values()) size += sessions.length;
    return size;
  }

  put(key: string, session: Uint8Array, expiresAtMs: number): void {
    const sessions = this.#kept.get(key) ?? [];
    sessions.push({ session, expiresAtMs });
    if (sessions.length > this.#maxPerPeer) sessions.shift();
    this.#kept.delete(key);
    this.#kept.set(key, sessions);
    if (this.#kept.size <= this.#maxPeers) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }

  take(key: string): Uint8Array | undefined {
    const sessions = this.#kept.get(key);
    const newest = sessions?.pop();
    if (newest === undefined || newest.expiresAtMs <= Date.now()) {
      // Those before it are older still.
      this.#kept.delete(key);
      return undefined;
    }
    if (sessions?.length === 0) this.#kept.delete(key);
    return newest.session;
  }
}
