/** quicmesh as its users meet it: two nodes with their defaults, calls of their own and bulk transfers. */
import type {
  DialTarget,
  MemorySessionStore,
  NodeOptions,
  Peer,
  SessionStore,
} from '../../../src/index.js';
import {
  CLIENT_NAME,
  type Client,
  type Contender,
  type ContenderOptions,
  type FirstCall,
  type History,
  SERVER_NAME,
} from './contender.js';
import { checkAck, encodeAck, piecesOf, piecesUntil, readAck } from './upload.js';

/** The library itself, as this project compiles it or as its package has it. */
export type Library = typeof import('../../../src/index.js');

/** The method of a call that wants to know whether it came early. */
const FIRST = 'first';

/** The name of a transfer that comes down without an end. */
const DOWNLOAD = 'download';

/** What a leader says when it has nothing to say. */
const HEARTBEAT = {
  type: 'consensus',
  body: {
    kind: 'appendEntries',
    term: 7,
    leaderId: CLIENT_NAME,
    prevLogIndex: 1_000_000,
    prevLogTerm: 7,
    entries: [],
    leaderCommit: 1_000_000,
  },
} as const;

const MANY_CONNECTIONS = 4096;
/** Calls end by the benchmark's own limits. */
const NO_LIMIT = { timeoutMs: Number.POSITIVE_INFINITY };

/** @param transports the node's own choice by default */
export function quicmeshOver(library: Library, transports?: NodeOptions['transports']): Contender {
  const { createNode } = library;
  const commonOptions = ({ tls, maxDatagramBytes }: ContenderOptions) => ({
    cluster: 'bench',
    tls,
    transports,
    logger: 'error' as const,
    quic: { maxDatagramBytes },
  });
  return {
    async serve(options) {
      const node = await createNode({
        ...commonOptions(options),
        nodeId: SERVER_NAME,
        listen: { host: options.host, port: 0 },
        // A thousand idle connections are those of one client.
        limits: { connectionsPerPeer: MANY_CONNECTIONS },
      });
      node.handle('request', ({ method, body }, { early }) => ({
        body: method === FIRST ? { early, payload: body } : body,
      }));
      node.handle('consensus', ({ body: { term } }) => ({
        body: { kind: 'appendEntriesResponse', term, success: true },
      }));
      node.handle('dataTransfer', async function* ({ name }, context) {
        if (name === DOWNLOAD) return yield* piecesUntil(context.signal);
        context.lendChunks();
        let counted = 0;
        for await (const chunk of context.body) counted += chunk.length;
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
        prepareFirstCall: (history) =>
          prepareFirstCall(
            library,
            { ...commonOptions(options), nodeId: CLIENT_NAME },
            { nodeId: SERVER_NAME, host, port },
            history,
          ),
        close: () => node.close(),
      };
    },
  };
}

/** From a node of its own: nothing is kept from one to the next but what is to be resumed. */
async function prepareFirstCall(
  { createNode, MemorySessionStore: Store }: Library,
  options: NodeOptions,
  target: DialTarget,
  history: History,
): Promise<FirstCall> {
  const sessions = new Sessions(new Store());
  const node = await createNode({ ...options, quic: { ...options.quic, sessionStore: sessions } });
  if (history === 'resumed') {
    const former = await node.connect(target);
    await sessions.kept;
    await former.close();
  }
  return {
    async echo(payload) {
      const call = { type: 'request', method: FIRST, body: payload } as const;
      const peer = node.connectEarly(target);
      const reply = await peer.request(call, { ...NO_LIMIT, replaySafe: true });
      const { early, payload: echoed } = reply.body as { early: boolean; payload: Uint8Array };
      if (early !== (history === 'resumed')) throw new Error(`the call came early: ${early}`);
      return echoed;
    },
    close: () => node.close(),
  };
}

/** Tells when there is a session to resume: the server sends it when the handshake is over. */
class Sessions implements SessionStore {
  readonly kept: Promise<void>;
  readonly #store: MemorySessionStore;
  #tell: () => void = () => {};

  constructor(store: MemorySessionStore) {
    this.#store = store;
    this.kept = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  put(...session: Parameters<SessionStore['put']>): void {
    this.#store.put(...session);
    this.#tell();
  }

  take(key: string): Uint8Array | undefined {
    return this.#store.take(key);
  }
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

    async heartbeat() {
      await peer.request(HEARTBEAT, NO_LIMIT);
    },

    async heartbeatTwice() {
      await peer.request(HEARTBEAT, { ...NO_LIMIT, redundancy: 2 });
    },

    async saturate(direction, signal) {
      if (direction === 'upload') {
        const ack: Uint8Array[] = [];
        const answer = peer.stream({ transferId: 'bulk' }, { body: piecesUntil(signal) });
        for await (const piece of answer) ack.push(piece);
        return readAck(Buffer.concat(ack)) ?? 0;
      }
      let counted = 0;
      for await (const piece of peer.stream(
        { transferId: 'bulk', name: DOWNLOAD },
        { lendChunks: true },
      )) {
        counted += piece.length;
        if (signal.aborted) break;
      }
      return counted;
    },
  };
}
