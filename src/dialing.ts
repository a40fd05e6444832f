/** One dial of a peer: a transport, the handshake, and the calls that ride along with it. */
import type { DialQueue } from './calls/dial-queue.js';
import type { CallSession } from './calls/session.js';
import type { MessageCodec } from './protocol/codec.js';
import type { HandshakeConfig, Negotiated } from './protocol/handshake.js';
import type {
  Connection,
  DialTarget,
  FrameStream,
  FrameStreamHandler,
} from './transport/connection.js';
import { dialHandshake } from './transport/handshaker.js';
import type { TransportManager } from './transport/manager.js';

export interface DialingOptions {
  readonly manager: TransportManager;
  readonly config: HandshakeConfig;
  readonly codec: MessageCodec;
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  /** Calls that wait for the peer. */
  readonly queue: DialQueue;
  /** A session whose handshake is still to be answered. */
  readonly createSession: (connection: Connection) => CallSession;
  /** The handshake is done; the answer receives the streams that the peer opens. */
  readonly accepted: (
    session: CallSession,
    negotiated: Negotiated,
  ) => (stream: FrameStream) => FrameStreamHandler;
}

/**
 * Dials, and sends the handshake together with the calls of the queue, which fail with the dial.
 * @throws MeshError as TransportManager.dial and dialHandshake
 */
export async function dialPeer(
  target: DialTarget,
  signal: AbortSignal,
  options: DialingOptions,
): Promise<void> {
  const { manager, connectTimeoutMs, queue } = options;
  const connection = await manager.dial(target, { signal, connectTimeoutMs });
  const session = options.createSession(connection);
  const handshake = dialHandshake(connection, {
    config: options.config,
    codec: options.codec,
    timeoutMs: options.handshakeTimeoutMs,
    signal,
    expectedNodeId: target.nodeId,
    accepted: (negotiated) => options.accepted(session, negotiated),
    failed: (error, refused) => session.fail(error, refused),
  });
  // In the turn of the request: the same flight carries both.
  queue.offer(session);
  await handshake;
}
