/**
 * The QUICClient and QUICServer classes of @matrixai/quic with their defaults, over mutual TLS: a bidirectional
 * stream for every request, a unidirectional one for an upload, acknowledged on another.
 */
import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto';
import Logger, { LogLevel } from '@matrixai/logger';
import {
  events,
  QUICClient,
  type QUICConnection,
  QUICServer,
  type QUICStream,
} from '@matrixai/quic';
import { type Client, type Contender, SERVER_NAME } from './contender.js';
import { checkAck, encodeAck, piecesOf } from './upload.js';

const PROTOCOLS = ['bench'];

export const matrixaiClasses: Contender = {
  async serve({ host, tls }) {
    const server = new QUICServer({
      crypto: { key: randomBytes(32), ops: { sign, verify } },
      config: { ...tls, verifyPeer: true, applicationProtos: PROTOCOLS },
      logger: silentLogger(),
    });
    server.addEventListener(events.EventQUICServerConnection.name, (event: Event) => {
      const { detail } = event as events.EventQUICServerConnection;
      detail.addEventListener(events.EventQUICConnectionStream.name, (opened: Event) => {
        // A stream that fails leaves its request without an answer, which is met by the limits of the benchmark.
        serveStream(detail, (opened as events.EventQUICConnectionStream).detail).catch(() => {});
      });
    });
    await server.start({ host, port: 0 });
    return { port: server.port, close: () => server.stop({ isApp: true, force: true }) };
  },

  async createDialer({ host, port, tls }) {
    const clients: QUICClient[] = [];
    return {
      async connect() {
        const client = await QUICClient.createQUICClient({
          host,
          port,
          serverName: SERVER_NAME,
          localHost: host.startsWith('127.') ? host : '0.0.0.0',
          crypto: {
            ops: { randomBytes: async (into) => void randomFillSync(new Uint8Array(into)) },
          },
          config: { ...tls, verifyPeer: true, applicationProtos: PROTOCOLS },
          logger: silentLogger(),
        });
        clients.push(client);
        return clientOf(client.connection);
      },
      async close() {
        await Promise.all(clients.map((client) => client.destroy({ isApp: true, force: true })));
      },
    };
  },
};

async function serveStream(connection: QUICConnection, stream: QUICStream): Promise<void> {
  if (stream.type === 'bidi') {
    await stream.readable.pipeTo(stream.writable);
    return;
  }
  let counted = 0;
  for await (const piece of stream.readable) counted += piece.length;
  const writer = connection.newStream('uni').writable.getWriter();
  await writer.write(encodeAck(counted));
  await writer.close();
}

function clientOf(connection: QUICConnection): Client {
  return {
    async echo(payload) {
      const stream = connection.newStream();
      const writer = stream.writable.getWriter();
      const sent = writer.write(payload).then(() => writer.close());
      const [reply] = await Promise.all([readAll(stream), sent]);
      return reply;
    },

    async upload(totalBytes) {
      const answer = new Promise<QUICStream>((resolve) => {
        connection.addEventListener(
          events.EventQUICConnectionStream.name,
          (event: Event) => resolve((event as events.EventQUICConnectionStream).detail),
          { once: true },
        );
      });
      const writer = connection.newStream('uni').writable.getWriter();
      for (const piece of piecesOf(totalBytes)) await writer.write(piece);
      await writer.close();
      checkAck(await readAll(await answer), totalBytes);
    },
  };
}

async function readAll({ readable }: QUICStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of readable) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The classes tell of every connection and stream on standard error otherwise. */
function silentLogger(): Logger {
  return new Logger('bench', LogLevel.SILENT);
}

function randomBytes(count: number): ArrayBuffer {
  const bytes = new ArrayBuffer(count);
  randomFillSync(new Uint8Array(bytes));
  return bytes;
}

async function sign(key: ArrayBuffer, data: ArrayBuffer): Promise<ArrayBuffer> {
  const digest = createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest();
  return new Uint8Array(digest).buffer;
}

async function verify(key: ArrayBuffer, data: ArrayBuffer, sig: ArrayBuffer): Promise<boolean> {
  const expected = Buffer.from(await sign(key, data));
  return expected.length === sig.byteLength && timingSafeEqual(expected, Buffer.from(sig));
}
