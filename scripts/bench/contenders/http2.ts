/** node:http2 over mutual TLS 1.3: a session, and a stream for every request. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { type Client, type Contender, SERVER_NAME } from './contender.js';
import { checkAck, encodeAck, piecesOf } from './upload.js';

export const http2: Contender = {
  async serve({ host, tls }) {
    const server = createSecureServer({
      ...tls,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
    });
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => sessions.add(session));
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      stream.respond({ ':status': 200 });
      if (headers[':path'] === '/echo') {
        stream.pipe(stream);
        return;
      }
      let counted = 0;
      stream.on('data', (piece: Buffer) => {
        counted += piece.length;
      });
      stream.on('end', () => stream.end(encodeAck(counted)));
    });
    server.listen(0, host);
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      async close() {
        for (const session of sessions) session.destroy();
        server.close();
      },
    };
  },

  async createDialer({ host, port, tls }) {
    const sessions: ClientHttp2Session[] = [];
    return {
      async connect() {
        const session = connect(`https://${host}:${port}`, {
          ...tls,
          servername: SERVER_NAME,
          minVersion: 'TLSv1.3',
        });
        await once(session, 'connect');
        session.on('error', () => {});
        sessions.push(session);
        return clientOf(session);
      },
      async close() {
        for (const session of sessions) session.destroy();
      },
    };
  },
};

function clientOf(session: ClientHttp2Session): Client {
  return {
    echo: (payload) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ':method': 'POST', ':path': '/echo' });
        const pieces: Buffer[] = [];
        stream.on('data', (piece: Buffer) => pieces.push(piece));
        stream.on('end', () => {
          const [first] = pieces;
          resolve(pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces));
        });
        stream.on('error', reject);
        stream.end(payload);
      }),

    async upload(totalBytes) {
      const stream = session.request({ ':method': 'POST', ':path': '/upload' });
      const pieces: Buffer[] = [];
      stream.on('data', (piece: Buffer) => pieces.push(piece));
      await Promise.all([once(stream, 'end'), pipeline(piecesOf(totalBytes), stream)]);
      checkAck(Buffer.concat(pieces), totalBytes);
    },
  };
}
