/** quicmesh as its users meet it: two nodes with their defaults, calls of their own and bulk transfers. */
import { createNode, type DialTarget, type MeshNode, type Peer } from '../../../src/index.js';
import {
  CLIENT_NAME,
  type Client,
  type Contender,
  type ContenderOptions,
  type FirstCall,
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
        prepareFirstCall: async () => {
          // Of its own: nothing is kept from one to the next.
          const node = await createNode({ ...commonOptions(options), nodeId: CLIENT_NAME });
          return firstCall(node, { nodeId: SERVER_NAME, host, port });
        },
        close: () => node.close(),
      };
    },
  };
}

function firstCall(node: MeshNode, target: DialTarget & { readonly nodeId: string }): FirstCall {
  return {
    async echo(payload) {
      const peer = node.connectEarly(target);
      const reply = await peer.request(
        { type: 'request', method: 'echo', body: payload },
        { ...NO_LIMIT, replaySafe: true },
      );
      return reply.body as Uint8Array;
    },
    close: () => node.close(),
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
