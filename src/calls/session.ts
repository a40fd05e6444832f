/** Calls over one connection whose handshake is done, in both directions. */
import { MeshError } from '../errors.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { Negotiated } from '../protocol/handshake.js';
import type { Capabilities, DataTransfer, Message } from '../protocol/message.js';
import type {
  Connection,
  FrameStream,
  FrameStreamHandler,
  TransportName,
} from '../transport/connection.js';
import { type CallHost, type Handlers, IncomingCall } from './incoming-call.js';
import { callOnce, sendOnce } from './outgoing-call.js';
import { openTransfer } from './outgoing-transfer.js';
import {
  type CallCounters,
  type CallOptions,
  type HandlerFailureListener,
  type OneWayMessage,
  REPLY_TYPES,
  type ReplyTo,
  type RequestMessage,
  type StreamCallOptions,
} from './types.js';

export interface CallSessionOptions {
  readonly connection: Connection;
  readonly negotiated: Negotiated;
  readonly codec: FrameCodec;
  readonly handlers: Handlers;
  readonly onHandlerFailure: HandlerFailureListener;
}

/** The capability that each kind of message needs on both sides. */
const NEEDED: Readonly<
  Partial<Record<Message['type'], 'query' | 'replication' | 'consensus' | 'dataTransfer'>>
> = {
  queryRequest: 'query',
  replicationLog: 'replication',
  consensus: 'consensus',
  dataTransfer: 'dataTransfer',
};

export class CallSession implements CallHost {
  readonly connection: Connection;
  readonly codec: FrameCodec;
  readonly handlers: Handlers;
  readonly peer: { readonly nodeId: string };
  readonly counters: CallCounters = {
    sent: 0,
    succeeded: 0,
    failed: 0,
    handled: 0,
    handlerErrors: 0,
  };
  readonly #capabilities: Capabilities;
  readonly #onHandlerFailure: HandlerFailureListener;
  readonly #incoming = new Set<IncomingCall>();
  #outgoing = 0;
  #draining = false;
  #onQuiet: (() => void) | undefined;

  constructor(options: CallSessionOptions) {
    const { connection, negotiated } = options;
    this.connection = connection;
    this.codec = options.codec;
    this.handlers = options.handlers;
    this.peer = Object.freeze({ nodeId: negotiated.peerNodeId });
    this.#capabilities = negotiated.capabilities;
    this.#onHandlerFailure = options.onHandlerFailure;
  }

  get transport(): TransportName {
    return this.connection.transport;
  }

  get isOpen(): boolean {
    return this.connection.state.kind === 'open' && !this.#draining;
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** Receives the streams that the peer opens: the connection's `onStream`. */
  readonly accept = (stream: FrameStream): FrameStreamHandler => {
    const call = new IncomingCall(this, stream);
    this.#incoming.add(call);
    this.counters.handled += 1;
    return call;
  };

  /** See Peer.request. */
  request<M extends RequestMessage>(message: M, options: CallOptions): Promise<ReplyTo<M>> {
    const refusal = this.#refusal(message);
    if (refusal !== undefined) return Promise.reject(refusal);
    const { connection, codec } = this;
    const reply = callOnce(connection, codec, message, REPLY_TYPES[message.type], options);
    return this.#counted(reply) as Promise<ReplyTo<M>>;
  }

  /** See Peer.send. */
  send(message: OneWayMessage, options: CallOptions): Promise<void> {
    const refusal = this.#refusal(message);
    if (refusal !== undefined) return Promise.reject(refusal);
    const { connection, codec } = this;
    return this.#counted(sendOnce(connection, codec, { ...message, oneWay: true }, options));
  }

  /** See Peer.stream. */
  stream(open: DataTransfer, options: StreamCallOptions): AsyncIterable<Uint8Array> {
    const refusal = this.#refusal(open);
    if (refusal !== undefined) throw refusal;
    this.#outgoing += 1;
    this.counters.sent += 1;
    return openTransfer(this.connection, this.codec, open, options, (failure) => {
      this.#settled(failure === undefined);
    });
  }

  /** Takes no new calls and waits until those under way are done, or `timeoutMs` is over. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    if (this.#isQuiet) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onQuiet = () => {
        clearTimeout(timer);
        resolve();
      };
      void this.connection.closed.then(this.#onQuiet);
    });
  }

  // ---- CallHost -----------------------------------------------------------------------------------------

  capabilityRefusal(type: Message['type']): MeshError | undefined {
    const needed = NEEDED[type];
    if (needed === undefined || this.#capabilities[needed]) return undefined;
    const text = `${this.peer.nodeId} and this node do not share ${needed}`;
    return new MeshError('CapabilityMissing', text);
  }

  violated(error: MeshError): void {
    void this.connection.close(error.code, error.message);
  }

  handlerFailed(kind: Message['type'], error: MeshError): void {
    this.counters.handlerErrors += 1;
    this.#onHandlerFailure(kind, error);
  }

  finished(call: IncomingCall): void {
    this.#incoming.delete(call);
    this.#checkQuiet();
  }

  get #isQuiet(): boolean {
    return this.#incoming.size === 0 && this.#outgoing === 0;
  }

  #checkQuiet(): void {
    if (this.#draining && this.#isQuiet) this.#onQuiet?.();
  }

  #refusal(message: Message): MeshError | undefined {
    if (this.#draining) return new MeshError('NodeClosed', 'node is closing');
    return this.capabilityRefusal(message.type);
  }

  #counted<T>(call: Promise<T>): Promise<T> {
    this.#outgoing += 1;
    this.counters.sent += 1;
    call.then(this.#succeeded, this.#failed);
    return call;
  }

  readonly #succeeded = (): void => this.#settled(true);
  readonly #failed = (): void => this.#settled(false);

  #settled(succeeded: boolean): void {
    this.#outgoing -= 1;
    if (succeeded) this.counters.succeeded += 1;
    else this.counters.failed += 1;
    this.#checkQuiet();
  }
}
