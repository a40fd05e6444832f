/** Where calls get their streams. */
import type { MeshError } from '../errors.js';
import type { Priority } from '../protocol/priority.js';
import type {
  Connection,
  FrameStream,
  FrameStreamHandler,
  StreamOptions,
} from '../transport/connection.js';

/** Where calls get their streams. */
export interface StreamOpener {
  /** @throws MeshError ConnectionClosed, GoingAway, Overloaded */
  openStream(handler: CallHandler, priority: Priority): FrameStream;
}

/** A call's end of its stream. */
export interface CallHandler extends FrameStreamHandler {
  /** The peer will not run the call, and did not: it turned the whole connection away. */
  onRefused(error: MeshError): void;
}

/** Streams of one connection, at the class of each call. */
export class ConnectionOpener implements StreamOpener {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  openStream(handler: FrameStreamHandler, priority: Priority): FrameStream {
    return this.#connection.openStream(handler, STREAM_OPTIONS[priority]);
  }
}

/** Made once: not for every call. */
const STREAM_OPTIONS: Readonly<Record<Priority, StreamOptions>> = {
  control: { priority: 'control' },
  high: { priority: 'high' },
  normal: { priority: 'normal' },
  bulk: { priority: 'bulk' },
};
