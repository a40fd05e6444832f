/** A bare connection as the member of a pool, for those who bring calls of their own. */
import type { Connection } from '../transport/connection.js';
import type { PoolMember } from './member.js';

export interface ConnectionMember extends PoolMember {
  readonly connection: Connection;
}

/**
 * @param ping asks the peer for a sign of life by the caller's own protocol, over transports that cannot; answers false
 *   where that cannot be done now. Without it such a connection is never taken for dead.
 */
export function connectionMember(
  connection: Connection,
  ping: () => boolean = () => false,
): ConnectionMember {
  return {
    connection,
    get isOpen() {
      return connection.state.kind === 'open' && !connection.isGoingAway;
    },
    get load() {
      return connection.openStreams;
    },
    get isAwaiting() {
      return connection.openStreams > 0;
    },
    get activity() {
      return connection.counters.streamsOpened + connection.counters.streamsAccepted;
    },
    ping() {
      if (connection.probe === undefined) return ping();
      connection.probe();
      return true;
    },
    async retire(reason) {
      connection.goAway();
      await connection.drained;
      await connection.close('NoError', reason);
    },
  };
}
