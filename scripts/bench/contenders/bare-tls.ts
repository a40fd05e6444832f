/**
 * The limit for TCP: a TLS 1.3 socket, a 4-byte length before every payload, and a server that sends back what it
 * reads without a look. An upload has a connection of its own, told apart by its application protocol (RFC 7301).
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { type Client, type Contender, SERVER_NAME } from './contender.js';
import { ACK_BYTES, checkAck, encodeAck, piecesOf, piecesUntil } from './upload.js';

const ECHO = 'bench-echo';
const SINK = 'bench-sink';
const LENGTH_BYTES = 4;
const FORGET_AT_ONCE = 1024;

export const bareTls: Contender = {
  async serve({ host, tls }) {
    const server = createServer({
      ...tls,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [ECHO, SINK],
    });
    const sockets = new Set<TLSSocket>();
    server.on('secureConnection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {});
      socket.setNoDelay(true);
      if (socket.alpnProtocol === SINK) countInto(socket);
      else echoBack(socket);
    });
    server.listen(0, host);
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      async close() {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  },

  async createDialer({ host, port, tls }) {
    const target: ConnectionOptions = {
      ...tls,
      host,
      port,
      servername: SERVER_NAME,
      minVersion: 'TLSv1.3',
    };
    const sockets = new Set<TLSSocket>();
    const dial = async (protocol: string): Promise<TLSSocket> => {
      const socket = connect({ ...target, ALPNProtocols: [protocol] });
      await once(socket, 'secureConnect');
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      return socket;
    };
    return {
      connect: async () => new BareTlsClient(await dial(ECHO), () => dial(SINK)),
      async close() {
        for (const socket of sockets) socket.destroy();
      },
    };
  },
};

/** Reading stops while the other side does not read. */
function echoBack(socket: TLSSocket): void {
  socket.on('data', (bytes) => {
    if (!socket.write(bytes)) socket.pause();
  });
  socket.on('drain', () => socket.resume());
}

/** First the number of bytes that will come, as an acknowledgement has it; then these. */
function countInto(socket: TLSSocket): void {
  let head: Buffer = Buffer.alloc(0);
  let expected: number | undefined;
  let counted = 0;
  socket.on('data', (bytes: Buffer) => {
    let body = bytes;
    if (expected === undefined) {
      head = Buffer.concat([head, bytes]);
      if (head.length < ACK_BYTES) return;
      expected = Number(head.readBigUInt64BE());
      body = head.subarray(ACK_BYTES);
    }
    counted += body.length;
    if (counted >= expected) socket.write(encodeAck(counted));
  });
}

interface Waiting {
  readonly resolve: (reply: Buffer) => void;
  readonly reject: (error: Error) => void;
}

class BareTlsClient implements Client {
  readonly #socket: TLSSocket;
  readonly #dialSink: () => Promise<TLSSocket>;
  /** Replies come in the order of their requests. */
  readonly #waiting: Waiting[] = [];
  #nextWaiting = 0;
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #corked = false;

  constructor(socket: TLSSocket, dialSink: () => Promise<TLSSocket>) {
    this.#socket = socket;
    this.#dialSink = dialSink;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection is closed')));
  }

  echo(payload: Uint8Array): Promise<Uint8Array> {
    this.#cork();
    const length = Buffer.allocUnsafe(LENGTH_BYTES);
    length.writeUInt32BE(payload.length);
    this.#socket.write(length);
    this.#socket.write(payload);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  async upload(totalBytes: number): Promise<void> {
    const socket = await this.#dialSink();
    try {
      const answered = once(socket, 'data') as Promise<[Buffer]>;
      socket.write(encodeAck(totalBytes));
      for (const piece of piecesOf(totalBytes)) {
        if (!socket.write(piece)) await once(socket, 'drain');
      }
      const [ack] = await answered;
      checkAck(ack, totalBytes);
    } finally {
      socket.destroy();
    }
  }

  /** Only up. Ends at once, whatever is still under way. */
  async saturate(direction: 'upload' | 'download', signal: AbortSignal): Promise<number> {
    if (direction === 'download') throw new Error('it has no download');
    const socket = await this.#dialSink();
    socket.on('error', () => {});
    socket.write(encodeAck(Number.MAX_SAFE_INTEGER));
    for (const piece of piecesUntil(signal)) {
      if (!socket.write(piece)) await once(socket, 'drain');
    }
    socket.destroy();
    return socket.bytesWritten;
  }

  /** What is written in one turn leaves in one piece. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    setImmediate(() => {
      this.#corked = false;
      this.#socket.uncork();
    });
  }

  #receive(bytes: Buffer): void {
    this.#buffered.push(bytes);
    this.#bufferedBytes += bytes.length;
    if (this.#bufferedBytes < this.#neededBytes()) return;
    const all = this.#buffered.length === 1 ? bytes : Buffer.concat(this.#buffered);
    let offset = 0;
    while (all.length - offset >= LENGTH_BYTES) {
      const end = offset + LENGTH_BYTES + all.readUInt32BE(offset);
      if (end > all.length) break;
      const waiting = this.#waiting[this.#nextWaiting++];
      waiting?.resolve(all.subarray(offset + LENGTH_BYTES, end));
      offset = end;
    }
    this.#forgetAnswered();
    this.#buffered = offset === all.length ? [] : [all.subarray(offset)];
    this.#bufferedBytes = all.length - offset;
  }

  /** How much must be there for the next reply to be whole. */
  #neededBytes(): number {
    const first = this.#buffered[0] as Buffer;
    return first.length < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + first.readUInt32BE(0);
  }

  #forgetAnswered(): void {
    if (this.#nextWaiting < Math.min(this.#waiting.length, FORGET_AT_ONCE)) return;
    this.#waiting.splice(0, this.#nextWaiting);
    this.#nextWaiting = 0;
  }

  #fail(error: Error): void {
    for (const waiting of this.#waiting.slice(this.#nextWaiting)) waiting.reject(error);
    this.#waiting.length = 0;
    this.#nextWaiting = 0;
  }
}
