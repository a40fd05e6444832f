/** A node under test, with what watches it: peers that have to be served whatever happens, its events, and its log. */
import { Writable } from 'node:stream';
import { pino } from 'pino';
import {
  createNode,
  type MeshNode,
  type NodeEvent,
  type NodeOptions,
  type Peer,
  type SocketAddress,
} from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { PROFILES } from './case.js';
import { until } from './wait.js';

/** Who attacks; certificates of others are shown where a case says so. */
export const HOSTILE_ID = 'n4';
/** One witness for each transport. */
const WITNESS_IDS = { quic: 'n1', tcp: 'n5' } as const;
/** Busy machines take their time: no witness is to be given up, and no silent attacker. */
const PATIENT = { health: { intervalMs: 60_000 } };

export interface LogLine {
  readonly time: number;
  readonly msg: string;
  readonly level: number;
  readonly host?: string;
  readonly peer?: string;
  readonly source?: string;
}

export class Subject {
  readonly node: MeshNode;
  readonly events: NodeEvent[] = [];
  readonly lines: LogLine[] = [];
  /** Handlers that run now. */
  handling = 0;
  readonly #nodes: MeshNode[] = [];
  readonly #witnesses: Peer[] = [];

  static async start(profile: keyof typeof PROFILES): Promise<Subject> {
    const lines: LogLine[] = [];
    const options: Partial<NodeOptions> = PROFILES[profile];
    const node = await createNode({
      ...(await common('n2')),
      listen: { host: '127.0.0.1', port: 0 },
      logger: pino({ level: 'warn' }, lineWriter(lines)),
      ...options,
      // All cases are one peer's.
      limits: { errorsPerSecond: 1_000_000, ...options.limits },
      timeouts: { drainMs: 100, ...options.timeouts },
    });
    const subject = new Subject(node, lines);
    subject.#serve();
    for (const transport of TEST_TRANSPORTS) {
      const witness = await createNode({
        ...(await common(WITNESS_IDS[transport])),
        transports: [transport],
        logger: 'silent',
        auth: options.auth,
      });
      subject.#nodes.push(witness);
      subject.#witnesses.push(await witness.connect(targetOf(node), { retry: true }));
    }
    return subject;
  }

  private constructor(node: MeshNode, lines: LogLine[]) {
    this.node = node;
    this.lines = lines;
    void this.#follow();
  }

  get address(): SocketAddress {
    return this.node.address as SocketAddress;
  }

  /** Every witness is answered, on the connection that it has had from the start. */
  async serves(): Promise<void> {
    for (const witness of this.#witnesses) {
      await witness.ping();
      if (witness.statistics.lost > 0) throw new Error(`${witness.nodeId} lost its connection`);
    }
  }

  /** What a path of the counters has; a star at its end sums all that begin so. */
  count(path: string): number {
    const names = path.split('.');
    const last = names.pop() as string;
    let table: unknown = this.node.counters;
    for (const name of names) table = (table as Record<string, unknown>)[name];
    const counts = table as Record<string, number>;
    if (!last.endsWith('*')) {
      if (counts[last] === undefined) throw new Error(`there is no counter ${path}`);
      return counts[last];
    }
    const matching = Object.keys(counts).filter((name) => name.startsWith(last.slice(0, -1)));
    return matching.reduce((sum, name) => sum + (counts[name] as number), 0);
  }

  /** The hostile peers are gone, and with them all that they had the node do. */
  async isRid(): Promise<void> {
    await until(() => this.handling === 0);
    await until(() => ['n3', HOSTILE_ID].every((id) => !this.node.peer(id)?.connections.length));
  }

  /**
   * About one source there is a line a second at most, whatever it does.
   * @throws Error which lines come too soon
   */
  checkLog(): void {
    const last = new Map<string, LogLine>();
    for (const line of this.lines) {
      const source = line.source ?? (line.peer === undefined ? line.host : `node ${line.peer}`);
      if (source === undefined) continue;
      const before = last.get(source);
      // Two clocks, which round in different ways.
      if (before !== undefined && line.time - before.time < 990) {
        throw new Error(`two lines at once: ${JSON.stringify([before, line])}`);
      }
      last.set(source, line);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((witness) => witness.close()));
    await this.node.close();
  }

  #serve(): void {
    const { node } = this;
    node.handle('request', async ({ method, body }, { signal }) => {
      if (method !== 'wait') return { body };
      this.handling += 1;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      this.handling -= 1;
      return {};
    });
    node.handle('query', ({ query }) => ({ result: query }));
    node.handle('replicationLog', () => ({}));
    node.handle('consensus', () => ({
      body: { kind: 'requestVoteResponse', term: 1, voteGranted: false },
    }));
    node.handle('dataTransfer', async ({ transferId }, { body, signal }) => {
      this.handling += 1;
      try {
        if (transferId === 'unread') {
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        }
        for await (const _chunk of body) {
          // Read and forgotten.
        }
      } finally {
        this.handling -= 1;
      }
      return undefined;
    });
  }

  async #follow(): Promise<void> {
    for await (const event of this.node.status()) this.events.push(event);
  }
}

async function common(nodeId: 'n1' | 'n2' | 'n5') {
  return { nodeId, cluster: 'test', tls: await nodeCert(nodeId), ...PATIENT };
}

function lineWriter(lines: LogLine[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) lines.push(JSON.parse(line));
      done();
    },
  });
}
