/** @grpc/grpc-js with its defaults, over mutual TLS. Messages are the bytes themselves. */
import {
  credentials,
  Client as GrpcClient,
  Server as GrpcServer,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  ServerCredentials,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { type Client, type Contender, SERVER_NAME } from './contender.js';
import { checkAck, encodeAck, piecesOf, piecesUntil, readAck } from './upload.js';

const same = (bytes: Buffer): Buffer => bytes;
const identity = {
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};
const SERVICE = {
  echo: { path: '/bench.Bench/Echo', requestStream: false, responseStream: false, ...identity },
  upload: { path: '/bench.Bench/Upload', requestStream: true, responseStream: false, ...identity },
  download: {
    path: '/bench.Bench/Download',
    requestStream: false,
    responseStream: true,
    ...identity,
  },
} as const satisfies ServiceDefinition;

const echo: handleUnaryCall<Buffer, Buffer> = (call, answer) => answer(null, call.request);
const upload: handleClientStreamingCall<Buffer, Buffer> = (call, answer) => {
  let counted = 0;
  call.on('data', (piece: Buffer) => {
    counted += piece.length;
  });
  call.on('end', () => answer(null, encodeAck(counted)));
};

const download: handleServerStreamingCall<Buffer, Buffer> = (call) => {
  const stop = new AbortController();
  call.on('cancelled', () => stop.abort());
  pump(piecesUntil(stop.signal), call);
};

export const grpcJs: Contender = {
  async serve({ host, tls }) {
    const server = new GrpcServer();
    server.addService(SERVICE, { echo, upload, download });
    const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
    const secured = ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], true);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`${host}:0`, secured, (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    return { port, close: async () => server.forceShutdown() };
  },

  async createDialer({ host, port, tls }) {
    const secured = credentials.createSsl(
      Buffer.from(tls.ca),
      Buffer.from(tls.key),
      Buffer.from(tls.cert),
    );
    const clients: GrpcClient[] = [];
    return {
      async connect() {
        const client = new GrpcClient(`${host}:${port}`, secured, {
          'grpc.ssl_target_name_override': SERVER_NAME,
          // Channels to one target share a connection otherwise.
          'grpc.use_local_subchannel_pool': 1,
        });
        clients.push(client);
        await new Promise<void>((resolve, reject) => {
          client.waitForReady(Date.now() + READY_LIMIT_MS, (error) => {
            if (error === undefined) resolve();
            else reject(error);
          });
        });
        return clientOf(client);
      },
      async close() {
        for (const client of clients) client.close();
      },
    };
  },
};

const READY_LIMIT_MS = 10_000;

function clientOf(client: GrpcClient): Client {
  return {
    echo: (payload) =>
      new Promise((resolve, reject) => {
        const request = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
        client.makeUnaryRequest(SERVICE.echo.path, same, same, request, (error, reply) => {
          if (error === null && reply !== undefined) resolve(reply);
          else reject(error ?? new Error('no reply'));
        });
      }),

    upload: (totalBytes) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          SERVICE.upload.path,
          same,
          same,
          (error, ack) => {
            if (error !== null) return reject(error);
            try {
              checkAck(ack ?? Buffer.alloc(0), totalBytes);
              resolve();
            } catch (thrown) {
              reject(thrown);
            }
          },
        );
        pump(piecesOf(totalBytes), call);
      }),

    saturate: (direction, signal) =>
      new Promise((resolve, reject) => {
        if (direction === 'upload') {
          const call = client.makeClientStreamRequest(
            SERVICE.upload.path,
            same,
            same,
            (error, ack) => {
              if (error === null) resolve(readAck(ack ?? Buffer.alloc(0)) ?? 0);
              else reject(error);
            },
          );
          pump(piecesUntil(signal), call);
          return;
        }
        const { path } = SERVICE.download;
        const call = client.makeServerStreamRequest(path, same, same, Buffer.alloc(0));
        let counted = 0;
        call.on('data', (piece: Buffer) => {
          counted += piece.length;
        });
        call.on('error', (error) => (signal.aborted ? resolve(counted) : reject(error)));
        signal.addEventListener('abort', () => call.cancel());
      }),
  };
}

interface PieceSink {
  write(piece: Buffer): boolean;
  once(event: 'drain', listener: () => void): unknown;
  end(): unknown;
}

/** Writes pieces as fast as the stream takes them, then ends it. */
function pump(pieces: Iterator<Buffer>, to: PieceSink): void {
  for (let next = pieces.next(); next.done !== true; next = pieces.next()) {
    if (to.write(next.value)) continue;
    to.once('drain', () => pump(pieces, to));
    return;
  }
  to.end();
}
