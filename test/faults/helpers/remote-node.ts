/** A node in a process, seen from the test; it can be killed and come back on its port. */
import type { ExecutionContext } from 'ava';
import { freePort } from '../../../scripts/mesh/ports.js';
import { type NodeCredentials, nodeCert, type TestNodeId } from '../../helpers/certs.js';
import { NodeProcess } from './node-process.js';
import type {
  CommandKind,
  FaultNodeOptions,
  Gives,
  Handles,
  Link,
  SeenEvent,
  Takes,
  Target,
} from './protocol.js';

export interface RemoteNodeOptions {
  /** Default: a certificate of the tests' CA, for n1 to n5. */
  readonly tls?: NodeCredentials | undefined;
  /** Default true. */
  readonly listens?: boolean | undefined;
  readonly options?: FaultNodeOptions | undefined;
  /** Whom it connects to whenever it starts, until it succeeds: what a member of a mesh is configured with. */
  readonly connectTo?: readonly Target[] | undefined;
  /** Default: a process of its own. */
  readonly process?: NodeProcess | undefined;
}

export class RemoteNode {
  readonly nodeId: string;
  readonly #t: ExecutionContext;
  readonly #start: Takes<'start'>;
  #process: NodeProcess;
  /** Ready to take the place of the one that is killed. */
  #next: NodeProcess | undefined;

  static async start(
    t: ExecutionContext,
    nodeId: string,
    given: RemoteNodeOptions = {},
  ): Promise<RemoteNode> {
    const { listens = true, options, connectTo } = given;
    const tls = given.tls ?? (await nodeCert(nodeId as TestNodeId));
    const port = listens ? await freePort() : undefined;
    const takes = { tls, port, options, connectTo };
    const node = new RemoteNode(t, nodeId, takes, given.process ?? new NodeProcess(t));
    await node.ask('start', takes);
    return node;
  }

  private constructor(
    t: ExecutionContext,
    nodeId: string,
    start: Takes<'start'>,
    process: NodeProcess,
  ) {
    this.#t = t;
    this.nodeId = nodeId;
    this.#start = start;
    this.#process = process;
  }

  get process(): NodeProcess {
    return this.#process;
  }

  /** Where it listens, in this life and in those to come. */
  get target(): Target {
    const { port } = this.#start;
    if (port === undefined) throw new Error(`${this.nodeId} does not listen`);
    return { nodeId: this.nodeId, host: '127.0.0.1', port };
  }

  /**
   * Has the next process ready first: how long one takes to begin depends on what else the machine does.
   * @returns when it was killed
   */
  async kill(): Promise<number> {
    this.#next = new NodeProcess(this.#t);
    await this.#next.ask(this.nodeId, 'usage', {});
    return this.#process.kill();
  }

  /** Starts it again on its port, after {@link kill}. @returns when it was there */
  async startAgain(connectTo: readonly Target[] = []): Promise<number> {
    this.#process = this.#next ?? new NodeProcess(this.#t);
    this.#next = undefined;
    const { atMs } = await this.ask('start', { ...this.#start, connectTo });
    return atMs;
  }

  ask<K extends CommandKind>(kind: K, takes: Takes<K>): Promise<Gives<K>> {
    return this.#process.ask(this.nodeId, kind, takes);
  }

  connect(target: Target, retry = false): Promise<Gives<'connect'>> {
    return this.ask('connect', { target, retry });
  }

  links(nodeId: string): Promise<readonly Link[]> {
    return this.ask('links', { nodeId });
  }

  events(sinceMs = 0): Promise<readonly SeenEvent[]> {
    return this.ask('events', { sinceMs });
  }

  async handles(): Promise<Handles> {
    return (await this.ask('usage', {})).handles;
  }

  async executions(): Promise<ReadonlyMap<string, number>> {
    return new Map(await this.ask('executions', {}));
  }
}
