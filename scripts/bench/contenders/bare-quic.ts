/**
 * The limit for QUIC: a bidirectional stream for every request, whose bytes come back as they are; an upload is a
 * unidirectional stream, acknowledged on another.
 */
import {
  type BareConnection,
  BareSocket,
  type Flushing,
  type StreamReader,
} from './bare-quic-socket.js';
import type { Client, Contender } from './contender.js';
import { checkAck, encodeAck, piecesOf, piecesUntil, readAck } from './upload.js';

const STREAM_ID_STEP = 4;
const FIRST_UNI_OF_CLIENT = 2;
/** The server's unidirectional stream that answers the client's. */
const ANSWERS = 1;

export const bareQuic = bareQuicFlushing('each datagram');
export const bareQuicBatched = bareQuicFlushing('each turn');

function bareQuicFlushing(flushing: Flushing): Contender {
  return {
    async serve(options) {
      const reader = new EchoAndSink();
      const socket = await BareSocket.bind({ ...options, role: 'server', reader, flushing });
      return { port: socket.local.port, close: async () => socket.close() };
    },

    async createDialer(options) {
      const reader = new Replies();
      const socket = await BareSocket.bind({ ...options, role: 'client', reader, flushing });
      const remote = { host: options.host, port: options.port };
      return {
        connect: async () => new BareQuicClient(await socket.connect(remote), reader),
        close: async () => socket.close(),
      };
    },
  };
}

class EchoAndSink implements StreamReader {
  readonly #counted = new Map<number, number>();

  receive(connection: BareConnection, id: number, bytes: Buffer, fin: boolean): void {
    if ((id & FIRST_UNI_OF_CLIENT) === 0) {
      connection.send(id, bytes, fin);
      return;
    }
    const counted = (this.#counted.get(id) ?? 0) + bytes.length;
    this.#counted.set(id, counted);
    if (!fin) return;
    this.#counted.delete(id);
    connection.send(id + ANSWERS, encodeAck(counted), true);
  }
}

interface Waiting {
  readonly resolve: (bytes: Buffer) => void;
  /** What has come before the last piece. */
  pieces: Buffer[] | undefined;
}

interface Upload {
  readonly id: number;
  readonly pieces: Iterator<Buffer>;
  /** What is next, and what comes after it: the last of all goes with the end of the stream. */
  piece: Buffer | undefined;
  next: Buffer | undefined;
}

/** What a client waits for, by stream. A dialer's connections all have the same ids, so they wait apart. */
class Replies implements StreamReader {
  readonly #waiting = new Map<BareConnection, Map<number, Waiting>>();
  readonly #uploads = new Map<BareConnection, Upload>();

  /** Registers for all that comes on a stream. */
  await(connection: BareConnection, id: number): Promise<Buffer> {
    let waiting = this.#waiting.get(connection);
    if (waiting === undefined) {
      waiting = new Map();
      this.#waiting.set(connection, waiting);
    }
    const of = waiting;
    return new Promise((resolve) => {
      of.set(id, { resolve, pieces: undefined });
    });
  }

  startUpload(connection: BareConnection, id: number, body: Iterator<Buffer>): void {
    const upload = { id, pieces: body, piece: take(body), next: take(body) };
    this.#uploads.set(connection, upload);
    this.progress(connection);
    connection.flush();
  }

  receive(connection: BareConnection, id: number, bytes: Buffer, fin: boolean): void {
    const streams = this.#waiting.get(connection);
    const waiting = streams?.get(id);
    if (waiting === undefined) return;
    const copy = Buffer.from(bytes);
    if (!fin) {
      waiting.pieces ??= [];
      waiting.pieces.push(copy);
      return;
    }
    streams?.delete(id);
    const { pieces } = waiting;
    waiting.resolve(pieces === undefined ? copy : Buffer.concat([...pieces, copy]));
  }

  progress(connection: BareConnection): void {
    const upload = this.#uploads.get(connection);
    if (upload === undefined) return;
    while (upload.piece !== undefined) {
      const took = connection.trySend(upload.id, upload.piece, upload.next === undefined);
      if (took < upload.piece.length) {
        upload.piece = upload.piece.subarray(took);
        return;
      }
      upload.piece = upload.next;
      upload.next = take(upload.pieces);
    }
    this.#uploads.delete(connection);
  }
}

class BareQuicClient implements Client {
  readonly #connection: BareConnection;
  readonly #replies: Replies;
  #nextBidi = 0;
  #nextUni = FIRST_UNI_OF_CLIENT;

  constructor(connection: BareConnection, replies: Replies) {
    this.#connection = connection;
    this.#replies = replies;
  }

  echo(payload: Uint8Array): Promise<Uint8Array> {
    const id = this.#nextBidi;
    this.#nextBidi += STREAM_ID_STEP;
    const reply = this.#replies.await(this.#connection, id);
    this.#connection.send(id, payload, true);
    this.#connection.flushSoon();
    return reply;
  }

  async upload(totalBytes: number): Promise<void> {
    checkAck(await this.#send(piecesOf(totalBytes)), totalBytes);
  }

  async saturate(direction: 'upload' | 'download', signal: AbortSignal): Promise<number> {
    if (direction === 'download') throw new Error('it has no download');
    return readAck(await this.#send(piecesUntil(signal))) ?? 0;
  }

  /** @returns what the server answers when it has all */
  #send(body: Iterator<Buffer>): Promise<Buffer> {
    const id = this.#nextUni;
    this.#nextUni += STREAM_ID_STEP;
    const ack = this.#replies.await(this.#connection, id + ANSWERS);
    this.#replies.startUpload(this.#connection, id, body);
    return ack;
  }
}

function take(pieces: Iterator<Buffer>): Buffer | undefined {
  const next = pieces.next();
  return next.done === true ? undefined : next.value;
}
