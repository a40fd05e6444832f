/** Streams of frames for tests: what arrived, and promises for what is to come. */
import { MeshError } from '../../src/errors.js';
import type { Frame } from '../../src/protocol/frame.js';
import type {
  Connection,
  FrameStream,
  FrameStreamHandler,
  SendOptions,
  StreamOptions,
} from '../../src/transport/connection.js';

/** A handler that keeps what it is called with. */
export class Collector implements FrameStreamHandler {
  readonly payloads: Buffer[] = [];
  /** How each of them is compressed, by its flags. */
  readonly compressions: number[] = [];
  /** How often each method was called. */
  readonly calls = { onEnd: 0, onReset: 0, onDrain: 0 };
  /** The peer has ended; rejects with the reset's error. */
  readonly ended: Promise<Buffer>;
  /** The stream was reset; never fulfils otherwise. */
  readonly reset: Promise<MeshError>;
  #end!: (bytes: Buffer) => void;
  #reset!: (error: MeshError) => void;
  #drained: (() => void)[] = [];

  constructor() {
    this.reset = new Promise((resolve) => {
      this.#reset = resolve;
    });
    this.ended = Promise.race([
      new Promise<Buffer>((resolve) => {
        this.#end = resolve;
      }),
      this.reset.then((error) => Promise.reject(error)),
    ]);
    // Not every test waits for it.
    this.ended.catch(() => {});
  }

  /** All payloads, joined. */
  get bytes(): Buffer {
    return Buffer.concat(this.payloads);
  }

  onFrame(frame: Frame): void {
    this.payloads.push(Buffer.from(frame.payload));
    this.compressions.push(frame.compression);
  }

  onEnd(): void {
    this.calls.onEnd += 1;
    this.#end(this.bytes);
  }

  onReset(error: MeshError): void {
    this.calls.onReset += 1;
    this.#reset(error);
    this.#wake();
  }

  onDrain(): void {
    this.calls.onDrain += 1;
    this.#wake();
  }

  /** The next `onDrain`, or the stream's end by reset. */
  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#drained.splice(0)) wake();
  }
}

/** A stream with a collector as its handler. */
export interface CollectedStream {
  readonly stream: FrameStream;
  readonly collector: Collector;
}

export function openCollected(connection: Connection, options?: StreamOptions): CollectedStream {
  const collector = new Collector();
  return { stream: connection.openStream(collector, options), collector };
}

/** One frame out, ended; all that comes back until the peer ends. */
export function request(connection: Connection, payload: Uint8Array): Promise<Buffer> {
  const { stream, collector } = openCollected(connection);
  stream.send(payload, { end: true });
  return collector.ended;
}

/** Sends one frame after the other, waiting whenever the stream asks for it; then ends. */
export async function sendAll(
  { stream, collector }: CollectedStream,
  payloads: Iterable<Uint8Array>,
): Promise<void> {
  for (const payload of payloads) {
    if (!stream.send(payload)) await collector.drained();
  }
  stream.end();
}

/** Lets a connection answer every frame with itself, and every end with an end. */
export function echoAcceptor(connection: Connection): void {
  connection.onStream = (stream) => new Echo(stream);
}

/** Collects every stream that the peer opens. `next()` gives them in order of arrival. */
export function collectStreams(connection: Connection): { next(): Promise<CollectedStream> } {
  const arrived: CollectedStream[] = [];
  const waiting: ((stream: CollectedStream) => void)[] = [];
  connection.onStream = (stream) => {
    const collected = { stream, collector: new Collector() };
    const waiter = waiting.shift();
    if (waiter === undefined) arrived.push(collected);
    else waiter(collected);
    return collected.collector;
  };
  return {
    next: () => {
      const first = arrived.shift();
      return first === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(first);
    },
  };
}

/** The error that a call throws, as a MeshError. */
export function thrownBy(call: () => unknown): MeshError {
  try {
    call();
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

class Echo implements FrameStreamHandler {
  readonly #stream: FrameStream;

  constructor(stream: FrameStream) {
    this.#stream = stream;
  }

  onFrame(frame: Frame): void {
    const options: SendOptions = { compression: frame.compression };
    if (!this.#stream.send(frame.payload, options)) this.#stream.pause();
  }

  onEnd(): void {
    this.#stream.end();
  }

  onReset(): void {}

  onDrain(): void {
    this.#stream.resume();
  }
}
