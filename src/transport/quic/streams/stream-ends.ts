/**
 * How the peer's end of a stream shows, where it is not in the stream's own bytes: the binding fails, or the peer has
 * stopped a stream that nobody reads or writes, or its FIN comes without a reason. SPEC.md, "QUIC".
 */
import { codeOfWire, MeshError } from '../../../errors.js';
import { type NativeConnection, readNativeFailure } from '../binding/native.js';
import type { StreamReader } from './reader.js';
import { StoppedStreams } from './stopped-streams.js';
import type { QuicStream } from './stream.js';
import type { StreamsHost } from './streams-host.js';
import { UnexplainedEnds } from './unexplained-ends.js';

/** What a {@link StreamEnds} is given. */
export interface StreamEndsOptions {
  readonly native: NativeConnection;
  readonly host: StreamsHost;
  readonly reader: StreamReader;
  /** The peer has reset a stream. @throws MeshError Overloaded where it does so too fast */
  readonly onReset: () => void;
}

/** Finds streams that the peer has given up, and ends them with the reason. */
export class StreamEnds {
  readonly #native: NativeConnection;
  readonly #host: StreamsHost;
  readonly #reader: StreamReader;
  readonly #onReset: () => void;
  readonly #stopped: StoppedStreams;
  readonly #unexplained: UnexplainedEnds;

  constructor({ native, host, reader, onReset }: StreamEndsOptions) {
    this.#native = native;
    this.#host = host;
    this.#reader = reader;
    this.#onReset = onReset;
    const guard = (step: () => void): void => host.guard(step);
    this.#stopped = new StoppedStreams({ ask: (stream) => this.#askIfStopped(stream), guard });
    this.#unexplained = new UnexplainedEnds(guard);
  }

  /** The stream has its place; this side may still send on it, or does not read it for now. */
  watch(stream: QuicStream): void {
    this.#stopped.add(stream);
  }

  /** The peer's FIN came, and the notice that says why did not yet. */
  awaitNotice(stream: QuicStream): void {
    this.#unexplained.add(stream);
  }

  /** A datagram arrived, and all it brought was read. */
  received(): void {
    this.#stopped.received();
  }

  /** The stream is over. */
  forget(stream: QuicStream): void {
    this.#stopped.delete(stream);
    this.#unexplained.delete(stream);
  }

  /** The connection is over. */
  end(): void {
    this.#stopped.end();
    this.#unexplained.end();
  }

  /** The binding refused a read or a write: the peer reset the stream, stopped it, or QUIC is done with it. */
  failed(stream: QuicStream, thrown: unknown): void {
    const { name, value } = readNativeFailure(thrown);
    if (name !== 'StreamReset' && name !== 'StreamStopped') {
      const text = `QUIC ended the stream: ${name}`;
      stream.receiveReset(new MeshError('StreamReset', text, { side: 'remote', cause: thrown }));
      return;
    }
    if (name === 'StreamReset') this.#reader.wasReset(stream);
    // A notice about it has the reason as well, and counts as the same reset.
    this.#reader.hearNotices();
    if (!stream.isLive) return;
    const code = codeOfWire(value ?? -1) ?? 'StreamReset';
    this.#onReset();
    stream.receiveReset(new MeshError(code, `stream reset with ${code}`, { side: 'remote' }));
  }

  /** Whether the peer has stopped the stream; or has reset one whose reader is paused, which no read tells of. */
  #askIfStopped(stream: QuicStream): void {
    if (!this.#host.isReady()) return;
    if (!stream.maySend && !stream.isUnread) {
      this.#stopped.delete(stream);
      return;
    }
    // The binding knows a stream of this side once it has taken a byte of it.
    if (stream.initiator === 'local' && !stream.hasSent) return;
    try {
      if (stream.maySend) this.#native.streamCapacity(stream.id);
    } catch (thrown) {
      stream.sendingFailed();
      this.failed(stream, thrown);
      return;
    }
    // All bytes are read, and there is an end.
    if (stream.isUnread && this.#native.streamFinished(stream.id)) this.#reader.readEnd(stream);
  }
}
