/** Dials a bulk connection to a peer: by the transports that are worth a try, one after another. */
import type { CallSession } from '../calls/session/session.js';
import { isLoss, MeshError, toMeshError } from '../errors.js';
import type { HandshakeConfig } from '../protocol/handshake.js';
import type { Connection } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import type { BulkRoutes } from './bulk-routes.js';
import { type DialingOptions, dialPeer } from './dial-peer.js';

/** What the request carries besides, and the answer too: a full segment of jumbo frames. SPEC.md, "Full segments". */
const PAD_BYTES = 10_240;
/**
 * How long the answer to it may take: a part of the time for a handshake, two seconds by default, and some round trips in any case.
 * Two packets lost in a row take a second or so.
 */
const PROOF_SHARE = 0.4;
const PROOF_ROUND_TRIPS = 8;

/**
 * Goes on with the next transport where a connection is made, but its handshake does not get through, or the connection is lost
 * in it: the network between carries it badly. That transport is then avoided for a while.
 * @throws MeshError as dialPeer; ConnectFailed where no transport is worth a try now
 */
export async function dialBulk(
  target: PeerTarget & { readonly nodeId: string },
  signal: AbortSignal,
  routes: BulkRoutes,
  options: DialingOptions,
): Promise<CallSession> {
  const { handshakeTimeoutMs, rttMs = 0 } = options;
  for (;;) {
    const order = routes.to(target.nodeId, performance.now());
    if (order.length === 0) {
      const text = `bulk connections to ${target.nodeId} lately failed over every transport`;
      throw new MeshError('ConnectFailed', text);
    }
    let reached: Connection | undefined;
    try {
      return await dialPeer(target, signal, {
        ...options,
        order,
        config: (connection) => padded(options.config(connection), connection),
        handshakeTimeoutMs: (connection) => {
          const timeoutMs = handshakeTimeoutMs(connection);
          if (findsSizes(connection)) return timeoutMs;
          return Math.min(timeoutMs, Math.max(PROOF_SHARE * timeoutMs, PROOF_ROUND_TRIPS * rttMs));
        },
        createSession: (connection) => {
          reached = connection;
          return options.createSession(connection);
        },
      });
    } catch (thrown) {
      const { code, side } = toMeshError(thrown);
      const isUnheard = code === 'HandshakeTimeout' || (side === 'local' && isLoss(code));
      // Early data may have begun a handshake on a connection that was never made.
      if (!isUnheard || signal.aborted || (await reached?.opened) !== true) throw thrown;
      const nowMs = performance.now();
      routes.failed(target.nodeId, (reached as Connection).transport, nowMs);
      if (routes.to(target.nodeId, nowMs).length === 0) throw thrown;
    }
  }
}

function padded(config: HandshakeConfig, connection: Connection): HandshakeConfig {
  return findsSizes(connection) ? config : { ...config, padBytes: PAD_BYTES };
}

/** Whether the transport finds out by itself what the path carries. */
function findsSizes({ datagramBytes }: Connection): boolean {
  return datagramBytes !== undefined;
}
