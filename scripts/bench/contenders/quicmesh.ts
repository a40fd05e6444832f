/** quicmesh as its users meet it: two nodes with their defaults, calls of their own and bulk transfers. */
import { createNode, type Peer } from '../../../src/index.js';
import {
  CLIENT_NAME,
  type Client,
  type Contender,
  type ContenderOptions,
  SERVER_NAME,
} from './contender.js';
import { checkAck, encodeAck, piecesOf } from './upload.js';

export const quicmeshQuic = quicmeshOver('quic');
export const quicmeshTcp = quicmeshOver('tcp');

/** Calls end by the benchmark's own limits. */
const NO_LIMIT = { timeoutMs: Number.POSITIVE_INFINITY };

function quicmeshOver(transport: 'quic' | 'tcp'): Contender {
  const commonOptions = ({ tls, maxDatagramBytes }: ContenderOptions) => ({
    cluster: 'bench',
    tls,
    transports: [transport],
    logger: 'error' as const,
    maxDatagramBytes,
  });
  return {
    async serve(options) {
      const node = await createNode({
        ...commonOptions(options),
        nodeId: SERVER_NAME,
        listen: { host: options.host, port: 0 },
      });
      node.handle('request', ({ body }) => ({ body }));
      node.handle('dataTransfer', async function* (_transfer, { body }) {
        let counted = 0;
        for await (const chunk of body) counted += chunk.length;
        yield encodeAck(counted);
      });
      return { port: node.address?.port ?? 0, close: () => node.close() };
    },

    async createDialer(options) {
      const node = await createNode({ ...commonOptions(options), nodeId: CLIENT_NAME });
      const { host, port } = options;
      return {
        // Without a node id every call of `connect` opens a connection of its own.
        connect: async () => clientOf(await node.connect({ host, port })),
        close: () => node.close(),
      };
    },
  };
}

function clientOf(peer: Peer): Client {
  return {
    async echo(payload) {
      const reply = await peer.request(
        { type: 'request', method: 'echo', body: payload },
        NO_LIMIT,
      );
      return reply.body as Uint8Array;
    },

    async upload(totalBytes) {
      const ack: Uint8Array[] = [];
      const answer = peer.stream(
        { transferId: 'bulk', totalBytes },
        { body: piecesOf(totalBytes) },
      );
      for await (const piece of answer) ack.push(piece);
      checkAck(Buffer.concat(ack), totalBytes);
    },
  };
}
