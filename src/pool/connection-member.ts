/** Makes a bare connection a member of a pool, for those who build their own calls. */
import type { Connection } from '../transport/connection.js';
import type { PoolMember } from './member.js';

/** A pool member that is a bare connection. */
export interface ConnectionMember extends PoolMember {
  readonly connection: Connection;
}

/**
 * @param ping asks the peer for a sign of life by the caller's own protocol, where the transport itself cannot. Returns
 *   false where that is impossible now. Without `ping`, such a connection is never taken for dead.
 */
export function connectionMember(
  connection: Connection,
  ping: () => boolean = () => false,
): ConnectionMember {
  return new BareMember(connection, ping);
}

class BareMember implements ConnectionMember {
  readonly connection: Connection;
  readonly #ping: () => boolean;

  constructor(connection: Connection, ping: () => boolean) {
    this.connection = connection;
    this.#ping = ping;
  }

  get isOpen(): boolean {
    return this.connection.state.kind === 'open' && !this.connection.isGoingAway;
  }

  get load(): number {
    return this.connection.openStreams;
  }

  get isAwaiting(): boolean {
    return this.connection.openStreams > 0;
  }

  get activity(): number {
    const { streamsOpened, streamsAccepted } = this.connection.counters;
    return streamsOpened + streamsAccepted;
  }

  ping(): boolean {
    if (this.connection.probe === undefined) return this.#ping();
    this.connection.probe();
    return true;
  }

  async retire(reason: string): Promise<void> {
    this.connection.goAway();
    await this.connection.drained;
    await this.connection.close('NoError', reason);
  }
}
