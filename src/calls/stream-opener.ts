/** Opens the streams that calls go by. */
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

/** The handler of a call's stream. */
export interface CallHandler extends FrameStreamHandler {
  /** The peer has refused the whole connection, so it has not run the call and will not. */
  onRefused(error: MeshError): void;
}

/** Opens streams of one connection, each with the priority of its call. */
export class ConnectionOpener implements StreamOpener {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  openStream(handler: FrameStreamHandler, priority: Priority): FrameStream {
    return this.#connection.openStream(handler, STREAM_OPTIONS[priority]);
  }
}

/** Made once, so that no call has to make its own. */
const STREAM_OPTIONS: Readonly<Record<Priority, StreamOptions>> = {
  control: { priority: 'control' },
  high: { priority: 'high' },
  normal: { priority: 'normal' },
  bulk: { priority: 'bulk' },
};
