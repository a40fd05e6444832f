/**
 * Runs the handshake of `protocol/handshake.ts` over a connection. Clock, randomness and waiting are here.
 * SPEC.md, "Handshake".
 */
import { randomBytes } from 'node:crypto';
import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { MessageCodec } from '../../protocol/codec.js';
import { compressionsOf } from '../../protocol/compression.js';
import type { Frame } from '../../protocol/frame.js';
import {
  acceptHandshake,
  completeHandshake,
  createHandshakeRequest,
  type HandshakeConfig,
  type HandshakeState,
  type Negotiated,
  nextHandshakeState,
} from '../../protocol/handshake.js';
import type { HandshakeRequest, HandshakeResponse } from '../../protocol/message.js';
import type { ReplayGuard } from '../../protocol/replay-guard.js';
import type { AgreedLimits, Connection, FrameStream, FrameStreamHandler } from '../connection.js';

/** The message id of the dialer's first stream, which carries the handshake. */
const HANDSHAKE_MESSAGE_ID = 1;

/** What either side of a handshake needs. */
export interface HandshakeOptions {
  readonly config: HandshakeConfig;
  readonly codec: MessageCodec;
  /** How long the handshake may take, counted from the end of TLS. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Callbacks in the turn in which a dialer's handshake ends, before any other stream is read or reset. */
export interface DialHandshakeOptions extends HandshakeOptions {
  /** The node that was dialed, where the dialer knows it. */
  readonly expectedNodeId?: string | undefined;
  /** The agreed limits are in force. Returns what receives the streams that the acceptor opens. */
  readonly accepted?: (negotiated: Negotiated) => (stream: FrameStream) => FrameStreamHandler;
  /**
   * The handshake has failed. The connection is closed next, if it is not closed already.
   * @param refused whether the acceptor has refused, and so has read no other stream
   */
  readonly failed?: (error: MeshError, refused: boolean) => void;
}

/**
 * Runs the dialer's side. The request is sent at once, and calls sent next on other streams travel with it. When this
 * rejects, the connection is closed with the error's code.
 * @throws MeshError the acceptor's refusal (side `remote`), HandshakeTimeout, Cancelled, or what ended the connection
 */
export function dialHandshake(
  connection: Connection,
  options: DialHandshakeOptions,
): Promise<Negotiated> {
  const { config, codec } = options;
  let state: HandshakeState = { kind: 'idle' };
  let refused = false;
  const onFailure = (error: MeshError) => options.failed?.(error, refused);
  return settle(connection, { ...options, onFailure }, (done) => {
    const handler: FrameStreamHandler = {
      onFrame(frame) {
        done(() => {
          const response = expectMessage<HandshakeResponse>(codec, frame, 'handshakeResponse');
          refused = !response.accepted;
          const negotiated = completeHandshake(response, config, {
            certifiedNodeIds: connection.peerIdentity.nodeIds,
            expectedNodeId: options.expectedNodeId,
          });
          state = nextHandshakeState(state, { kind: 'accepted', negotiated });
          connection.applyLimits(limitsOf(negotiated));
          const accept = options.accepted?.(negotiated);
          if (accept !== undefined) connection.onStream = accept;
          return negotiated;
        });
      },
      onEnd() {
        done(() => {
          throw new MeshError(
            'HandshakeRequired',
            'acceptor ended the handshake without an answer',
          );
        });
      },
      onReset(error) {
        done(() => {
          throw error;
        });
      },
    };
    // Early: the request's nonce guards the early data that travels with it.
    const stream = connection.openStream(handler, { early: true, priority: 'control' });
    const request = createHandshakeRequest(config, Date.now(), randomBytes(16));
    state = nextHandshakeState(state, { kind: 'requested' });
    stream.send(codec.encode(request), { end: true });
  });
}

/**
 * Runs the acceptor's side. Streams that arrive before the dialer is accepted wait unread, bounded by the stream limit and
 * by flow control. Then `accept` receives them and all later ones.
 * @throws MeshError why the dialer was refused, HandshakeTimeout, or what ended the connection
 */
export function awaitHandshake(
  connection: Connection,
  options: HandshakeOptions & {
    readonly replayGuard: ReplayGuard;
    /** Why this side takes no connection of that node now: ConnectionLimitExceeded, GoingAway. `undefined` if it does. */
    readonly refusalOf?: ((nodeId: string) => MeshError | undefined) | undefined;
    /** Called as soon as the dialer is accepted, before any of its calls is read. */
    readonly accepted: (negotiated: Negotiated) => (stream: FrameStream) => FrameStreamHandler;
  },
): Promise<Negotiated> {
  const { config, codec } = options;
  let state: HandshakeState = { kind: 'idle' };
  const held = new Set<FrameStream>();
  connection.expectHandshake?.();
  return settle(connection, options, (done) => {
    connection.onStream = (stream) => {
      if (stream.messageId !== HANDSHAKE_MESSAGE_ID) return hold(stream, held);
      return {
        onFrame(frame) {
          if (state.kind !== 'idle') {
            void connection.close('HandshakeRepeated', 'the handshake stream carries one message');
            return;
          }
          done(() => {
            const request = expectMessage<HandshakeRequest>(codec, frame, 'handshakeRequest');
            state = nextHandshakeState(state, { kind: 'requested' });
            const verdict = acceptHandshake(request, config, {
              certifiedNodeIds: connection.peerIdentity.nodeIds,
              nowMs: Date.now(),
              monotonicMs: performance.now(),
              replayGuard: options.replayGuard,
              refusalOf: options.refusalOf,
              sessionId: randomBytes(16),
            });
            stream.prioritize('control');
            stream.send(codec.encode(verdict.response), { end: true });
            if (verdict.kind === 'refused') {
              state = nextHandshakeState(state, { kind: 'refused', code: verdict.error.code });
              throw verdict.error;
            }
            const { negotiated } = verdict;
            state = nextHandshakeState(state, { kind: 'accepted', negotiated });
            connection.applyLimits(limitsOf(negotiated));
            release(connection, held, options.accepted(negotiated));
            return negotiated;
          });
        },
        onEnd() {},
        onReset() {},
      };
    };
  });
}

/** Runs one side to its outcome: the first `done`, the deadline, the signal, or the connection's end. */
function settle(
  connection: Connection,
  options: HandshakeOptions & { readonly onFailure?: (error: MeshError) => void },
  start: (done: (outcome: () => Negotiated) => void) => void,
): Promise<Negotiated> {
  const { timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    let settled = false;
    const ending: Ending = { fail: undefined };
    let timer: NodeJS.Timeout | undefined;
    const finish = (outcome: () => Negotiated): void => {
      if (settled) return;
      settled = true;
      ending.fail = undefined;
      clearTimeout(timer);
      if (signal !== undefined) offAbort(signal, cancelled);
      try {
        resolve(outcome());
      } catch (thrown) {
        const error = toMeshError(thrown);
        options.onFailure?.(error);
        void connection.close(error.code, error.message);
        reject(error);
      }
    };
    const fail = (error: MeshError) =>
      finish(() => {
        throw error;
      });
    const cancelled = (fired: AbortSignal) => fail(cancelledError(fired));
    const startTimer = (): void => {
      if (settled) return;
      timer = setTimeout(() => {
        fail(new MeshError('HandshakeTimeout', `no handshake within ${timeoutMs} ms`));
      }, timeoutMs);
    };
    // Until TLS is done, the connection has a timeout of its own.
    if (connection.state.kind !== 'early') startTimer();
    else void connection.opened.then((opened) => opened && startTimer());
    ending.fail = fail;
    failWith(connection, ending);
    if (signal?.aborted === true) {
      cancelled(signal);
      return;
    }
    if (signal !== undefined) onAbort(signal, cancelled);
    try {
      start(finish);
    } catch (thrown) {
      fail(toMeshError(thrown));
    }
  });
}

/** Whoever is to hear of the connection's end, until the handshake is over. */
interface Ending {
  fail: ((error: MeshError) => void) | undefined;
}

/**
 * A promise keeps what waits for it until it settles, and a connection may live for months. So what waits here refers to
 * nothing of the handshake once that is over: neither its options nor the dial that it belonged to.
 */
function failWith(connection: Connection, ending: Ending): void {
  void connection.closed.then((error) => ending.fail?.(asFailure(error)));
}

/** For those who wait for a handshake, an orderly close is a failure too. */
function asFailure(closed: MeshError): MeshError {
  if (closed.code !== 'NoError') return closed;
  const text = 'connection was closed before the handshake was done';
  return new MeshError('ConnectionClosed', text, { side: closed.side });
}

function hold(stream: FrameStream, held: Set<FrameStream>): FrameStreamHandler {
  stream.pause();
  held.add(stream);
  return {
    onFrame() {},
    onEnd() {},
    onReset() {
      held.delete(stream);
    },
  };
}

function release(
  connection: Connection,
  held: Set<FrameStream>,
  accept: (stream: FrameStream) => FrameStreamHandler,
): void {
  connection.onStream = accept;
  for (const stream of held) {
    stream.handler = accept(stream);
    stream.resume();
  }
  held.clear();
}

function expectMessage<M extends HandshakeRequest | HandshakeResponse>(
  codec: MessageCodec,
  frame: Frame,
  type: M['type'],
): M {
  const message = codec.decode(frame.payload);
  if (message.type !== type) {
    throw new MeshError('HandshakeRequired', `${message.type} came where ${type} was due`);
  }
  return message as M;
}

function limitsOf(negotiated: Negotiated): AgreedLimits {
  return {
    maxMessageBytes: negotiated.capabilities.maxMessageBytes,
    maxOutgoingStreams: negotiated.maxOutgoingStreams,
    maxIncomingStreams: negotiated.maxIncomingStreams,
    checksum: negotiated.capabilities.checksum,
    compressions: compressionsOf(negotiated.capabilities.compressions),
  };
}
