/**
 * Stores of TLS sessions. A dialer keeps the session of a connection so that the next one can carry 0-RTT data. RFC 8446,
 * section 2.2; SPEC.md, "Early data".
 */

/**
 * Keeps sessions for a dialer. Its methods must not throw. If one does, the session is not resumed; the connection goes on.
 *
 * A session holds secrets: whoever reads it can read what is sent as 0-RTT data with it, and take this node's place on
 * a resumed connection. A store that writes it anywhere must guard it as it would the node's key.
 */
export interface SessionStore {
  /**
   * Keeps a session. `key` names the peer, the CA and this node's certificate, and is opaque.
   * @param session owned by the store from here on
   * @param expiresAtMs when the session becomes useless, in milliseconds since 1970
   */
  put(key: string, session: Uint8Array, expiresAtMs: number): void;
  /** Takes a session for that key out of the store: by a session that is used twice, observers can link its connections. */
  take(key: string): Uint8Array | undefined;
}

/** How many sessions a {@link MemorySessionStore} keeps. */
export interface MemorySessionStoreOptions {
  /** How many peers' sessions are kept. Beyond, those of the peer met longest ago are dropped. Default 1024. */
  readonly maxPeers?: number | undefined;
  /** How many sessions of one peer are kept. Beyond, the oldest is dropped. Default 4. */
  readonly maxPerPeer?: number | undefined;
}

interface KeptSession {
  readonly session: Uint8Array;
  readonly expiresAtMs: number;
}

/** Keeps sessions in memory. They are gone with the process. */
export class MemorySessionStore implements SessionStore {
  readonly #maxPeers: number;
  readonly #maxPerPeer: number;
  /** In order of use: the peer met last comes last, and so does the newest of its sessions. */
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
      // The others are older still.
      this.#kept.delete(key);
      return undefined;
    }
    if (sessions?.length === 0) this.#kept.delete(key);
    return newest.session;
  }
}
