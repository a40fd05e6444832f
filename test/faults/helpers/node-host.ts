/** One node inside a node process: it does what the test tells it, and keeps what it saw. */
import { type ConnectOptions, createNode, type MeshNode, type Peer } from '../../../src/index.js';
import { collectGarbage } from '../../helpers/collect-garbage.js';
import { monotonicMs, sleepUntil } from './clock.js';
import { Load } from './load.js';
import type {
  CommandKind,
  Gives,
  Handles,
  LoadOptions,
  Outcome,
  RandomCallsOptions,
  SeenEvent,
  Takes,
  Target,
} from './protocol.js';
import { handleRandomCalls, isOrder, obey, RandomCalls } from './random-calls.js';
import { StalledUpload } from './stalled-upload.js';

/** Work of a node that minds its event loop, in one turn of it. */
const WORK_MS = 1;

export class NodeHost {
  readonly #nodeId: string;
  readonly #events: SeenEvent[] = [];
  readonly #executions = new Map<string, number>();
  readonly #loads = new Map<string, Load>();
  #started: MeshNode | undefined;
  #upload: StalledUpload | undefined;
  #randomCalls: RandomCalls | undefined;
  #isWorking = false;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
  }

  carryOut(kind: CommandKind, takes: unknown): unknown {
    // The channel carries what the test's types have checked.
    return (this.#commands[kind] as (takes: unknown) => unknown)(takes);
  }

  readonly #commands: {
    readonly [K in CommandKind]: (takes: Takes<K>) => Gives<K> | Promise<Gives<K>>;
  } = {
    start: (takes) => this.#start(takes),
    connect: ({ target, retry }) => this.#connect(target, retry),
    firstReply: ({ target }) => this.#firstReply(target),
    startLoad: (options) => this.#startLoad(options),
    stopLoad: ({ name }) => this.#stopLoad(name),
    startRandomCalls: ({ target, ...options }) => this.#startRandomCalls(target, options),
    randomCalls: () => {
      if (this.#randomCalls === undefined) throw new Error('no calls were started');
      return this.#randomCalls.state;
    },
    startStalledUpload: async ({ target, bytes }) => {
      this.#upload = new StalledUpload(await this.#node.connect(target), bytes);
      return undefined;
    },
    stopStalledUpload: () => {
      this.#upload?.stop();
      return { pulledBytes: this.#upload?.pulledBytes ?? 0 };
    },
    work: ({ isOn }) => {
      this.#isWorking = isOn;
      if (isOn) this.#work();
      return undefined;
    },
    events: ({ sinceMs = 0 }) => this.#events.filter(({ atMs }) => atMs >= sinceMs),
    links: ({ nodeId }) =>
      (this.#node.peer(nodeId)?.connections ?? [])
        .filter(({ connectionClass }) => connectionClass === 'calls')
        .map(({ transport, role }) => ({ transport, role })),
    closePeer: async ({ nodeId }) => {
      await this.#node.peer(nodeId)?.close();
      return undefined;
    },
    executions: () => [...this.#executions],
    usage: () => ({ ...usedMemory(), handles: openHandles() }),
    counters: () => this.#node.counters.transports,
    close: async () => {
      await this.#node.close();
      return undefined;
    },
  };

  get #node(): MeshNode {
    if (this.#started === undefined) throw new Error(`${this.#nodeId} is not started`);
    return this.#started;
  }

  async #start(takes: Takes<'start'>): Promise<Gives<'start'>> {
    const { tls, port, options = {}, connectTo = [] } = takes;
    const node = await createNode({
      nodeId: this.#nodeId,
      cluster: 'faults',
      tls,
      logger: 'silent',
      ...(port === undefined ? {} : { listen: { host: '127.0.0.1', port } }),
      ...options,
    });
    this.#started = node;
    const atMs = monotonicMs();
    node.handle('query', ({ query }, context) =>
      isOrder(query) ? obey(query, context) : { result: this.#execute(query) },
    );
    node.handle('request', ({ method, body }, context) =>
      isOrder(body) ? obey(body, context) : { body: this.#execute(method) },
    );
    handleRandomCalls(node);
    void this.#follow(node);
    // Whether they succeed is seen by the events.
    for (const target of connectTo) this.#connect(target, true).catch(() => {});
    return { port: node.address?.port, atMs };
  }

  async #connect(target: Target, retry: boolean | undefined): Promise<Gives<'connect'>> {
    const beganMs = monotonicMs();
    const options: ConnectOptions & { readonly retry?: boolean } = { retry: retry ?? false };
    const { transport } = await this.#node.connect(target, options);
    return { tookMs: monotonicMs() - beganMs, transport };
  }

  async #firstReply(target: Target): Promise<Gives<'firstReply'>> {
    const beganMs = monotonicMs();
    const peer = await this.#node.connect(target);
    await peer.request({ type: 'queryRequest', query: `first of ${beganMs}` });
    return { tookMs: monotonicMs() - beganMs, transport: peer.transport };
  }

  async #startLoad(options: LoadOptions): Promise<undefined> {
    const { name, atMs } = options;
    if (this.#loads.has(name)) throw new Error(`there was a load ${name} already`);
    if (atMs !== undefined) await sleepUntil(atMs);
    this.#loads.set(name, new Load(await this.#peerFor(options), options));
    return undefined;
  }

  async #peerFor({ target, dial }: LoadOptions): Promise<Peer> {
    if (dial === 'connect') return this.#node.connect(target);
    if (dial === 'connectEarly') return this.#node.connectEarly(target);
    const peer = this.#node.peer(target.nodeId);
    if (peer === undefined) throw new Error(`${this.#nodeId} has not met ${target.nodeId}`);
    return peer;
  }

  async #startRandomCalls(target: Target, options: RandomCallsOptions): Promise<undefined> {
    this.#randomCalls = new RandomCalls(await this.#node.connect(target), options);
    this.#randomCalls.start();
    return undefined;
  }

  async #stopLoad(name: string): Promise<readonly Outcome[]> {
    const load = this.#loads.get(name);
    if (load === undefined) throw new Error(`there is no load ${name}`);
    return load.stop();
  }

  async #follow(node: MeshNode): Promise<void> {
    for await (const event of node.status()) {
      const { kind, nodeId, transport, from, to, error } = event as typeof event & {
        readonly [field in 'nodeId' | 'transport' | 'from' | 'to']?: unknown;
      } & { readonly error?: { readonly code: string } };
      this.#events.push({
        atMs: monotonicMs(),
        kind,
        nodeId: textOf(nodeId),
        transport: textOf(transport),
        from: textOf(from),
        to: textOf(to),
        code: error?.code,
      });
    }
  }

  readonly #work = (): void => {
    if (!this.#isWorking) return;
    for (const endMs = monotonicMs() + WORK_MS; monotonicMs() < endMs; );
    setImmediate(this.#work);
  };

  #execute(id: string): string {
    this.#executions.set(id, (this.#executions.get(id) ?? 0) + 1);
    return id;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function usedMemory(): { readonly rssBytes: number; readonly heapBytes: number } {
  collectGarbage();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssBytes: rss, heapBytes: heapUsed };
}

function openHandles(): Handles {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
