/** One dial of a peer: a transport, the handshake, and the calls that leave with it. */
import type { CallSession } from '../calls/session/session.js';
import { isMismatch, type MeshError, toMeshError } from '../errors.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { HandshakeConfig, Negotiated } from '../protocol/handshake.js';
import type {
  Connection,
  FrameStream,
  FrameStreamHandler,
  SocketAddress,
  TransportName,
} from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import { dialHandshake } from '../transport/dialing/handshaker.js';
import type { TransportManager } from '../transport/dialing/manager.js';

export interface DialingOptions {
  readonly manager: TransportManager;
  readonly config: (connection: Connection) => HandshakeConfig;
  readonly codec: MessageCodec;
  readonly connectTimeoutMs: number;
  /** Dials only over transports that are preferred to this one. */
  readonly betterThan?: TransportName | undefined;
  /** Dials only over these transports, in this order. Default: as the node prefers them. */
  readonly order?: readonly TransportName[] | undefined;
  readonly handshakeTimeoutMs: (connection: Connection) => number;
  /** The round trip to the peer, where it is known, in milliseconds. */
  readonly rttMs?: number | undefined;
  /** Gets a session that may take some calls before its handshake is answered. */
  readonly offer: (session: CallSession) => void;
  /** Makes a session whose handshake is still to be answered. */
  readonly createSession: (connection: Connection) => CallSession;
  /** Called when the handshake is done. What it returns receives the streams that the peer opens. */
  readonly accepted: (
    session: CallSession,
    negotiated: Negotiated,
  ) => (stream: FrameStream) => FrameStreamHandler;
}

/** How many other nodes a dial may meet before it gives up: as many as the addresses that it tries. */
const MAX_MISMATCHES = 16;

/**
 * Dials, and sends the handshake together with the calls that wait for it. If another node answers at an address of a named
 * peer, the peer's other addresses are tried.
 * @returns the session, once its handshake is done
 * @throws MeshError as TransportManager.dial and dialHandshake
 */
export async function dialPeer(
  target: PeerTarget,
  signal: AbortSignal,
  options: DialingOptions,
): Promise<CallSession> {
  const except: SocketAddress[] = [];
  let mismatch: MeshError | undefined;
  for (;;) {
    const attempt = await connectTo(target, signal, except, options).catch((thrown: unknown) => {
      throw mismatch ?? thrown;
    });
    try {
      await attempt.handshake;
      return attempt.session;
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (!isMismatch(error) || except.length >= MAX_MISMATCHES) throw error;
      mismatch ??= error;
      except.push(attempt.address);
    }
  }
}

/** Makes a connection and begins the handshake on it. */
async function connectTo(
  target: PeerTarget,
  signal: AbortSignal,
  except: readonly SocketAddress[],
  options: DialingOptions,
): Promise<Attempt & { readonly address: SocketAddress }> {
  const { manager, connectTimeoutMs, betterThan, order, rttMs } = options;
  let attempt: Attempt | undefined;
  let address: SocketAddress | undefined;
  const onEarly = (connection: Connection): void => {
    attempt = begin(connection, target, signal, options);
  };
  const connection = await manager.dial(target, {
    signal,
    connectTimeoutMs,
    onEarly,
    betterThan,
    order,
    rttMs,
    except,
    onReached: (reached) => {
      address = reached;
    },
  });
  attempt = resumed(attempt, connection, options) ?? begin(connection, target, signal, options);
  return { ...attempt, address: address ?? connection.remoteAddress };
}

/** A connection on which the handshake is under way. */
interface Attempt {
  readonly session: CallSession;
  readonly handshake: Promise<Negotiated>;
}

/** The attempt that began early, if its connection is the one that was made. From now on it takes more calls. */
function resumed(
  attempt: Attempt | undefined,
  connection: Connection,
  { offer }: DialingOptions,
): Attempt | undefined {
  if (attempt?.session.connection !== connection) return undefined;
  offer(attempt.session);
  return attempt;
}

/** Sends the handshake request, and the calls that may leave now in the same flight. */
function begin(
  connection: Connection,
  target: PeerTarget,
  signal: AbortSignal,
  options: DialingOptions,
): Attempt {
  const session = options.createSession(connection);
  const handshake = dialHandshake(connection, {
    config: options.config(connection),
    codec: options.codec,
    timeoutMs: options.handshakeTimeoutMs(connection),
    signal,
    expectedNodeId: target.nodeId,
    accepted: (negotiated) => options.accepted(session, negotiated),
    failed: (error, refused) => session.fail(error, refused),
  });
  // It fails with its connection. If that was an early one, the dial goes on with another.
  handshake.catch(() => {});
  options.offer(session);
  return { session, handshake };
}
