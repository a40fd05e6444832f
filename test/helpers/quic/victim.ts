/** A process under attack, seen from the test: its memory, whether its event loop still turns, and its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { Child } from '../../../scripts/children/child.js';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';
import type { SocketAddress } from '../../../src/transport/connection.js';
import type { QuicTransportOptions } from '../../../src/transport/quic/transport.js';
import { type NodeCredentials, nodeCert } from '../certs.js';
import { until } from '../until.js';

export interface VictimOptions extends Omit<QuicTransportOptions, 'tls'> {
  readonly tls: NodeCredentials;
  /** Default: the system picks. */
  readonly port?: number;
  /** What streams are answered with. Default: an echo. */
  readonly serves?: 'echo' | 'endless';
}

export type VictimCommand =
  | { readonly kind: 'listen'; readonly options: VictimOptions }
  | { readonly kind: 'collectGarbage' };

export type VictimReport =
  | { readonly kind: 'listening'; readonly address: SocketAddress }
  | ({ readonly kind: 'health' } & Health);

export interface Health {
  readonly rssBytes: number;
  /** The longest that the event loop was held up so far. */
  readonly busyMs: number;
  readonly counters: Readonly<Record<string, number>>;
  /** How connections ended so far, as `code: text`. */
  readonly closed: readonly string[];
}

const PROGRAM = fileURLToPath(new URL('victim-process.ts', import.meta.url));

export class Victim {
  readonly address: SocketAddress;
  readonly #reports: Health[] = [];
  #received = 0;
  readonly #child: Child;

  private constructor(address: SocketAddress, child: Child) {
    this.address = address;
    this.#child = child;
  }

  /** Starts the process, which is killed when the test ends, whatever state it is in. */
  static async start(t: ExecutionContext, options: Partial<VictimOptions> = {}): Promise<Victim> {
    const tls = options.tls ?? (await nodeCert('n1'));
    return new Promise((resolve, reject) => {
      let victim: Victim | undefined;
      const child = new Child({
        program: PROGRAM,
        nodeArguments: [...TYPESCRIPT, '--expose-gc'],
        isShown: true,
        onMessage: (message) => {
          const report = message as VictimReport;
          if (report.kind === 'listening') {
            victim = new Victim(report.address, child);
            resolve(victim);
          } else if (victim !== undefined) victim.#hear(report);
        },
      });
      t.teardown(() => child.kill());
      void child.gone.then(({ code }) => reject(new Error(`the victim ended with ${code}`)));
      child.tell({ kind: 'listen', options: { ...options, tls } } satisfies VictimCommand);
    });
  }

  /** Ends it without a word to anybody, as a crash does. */
  async kill(): Promise<void> {
    this.#child.kill();
    await this.#child.gone;
  }

  /** The newest report; fulfils with one that was made after the call. Rejects when none comes in time. */
  async health(timeoutMs = 10_000): Promise<Health> {
    // One may be on its way that tells of the time before.
    const target = this.#received + 2;
    await until(() => this.#received >= target, timeoutMs);
    return this.#reports.at(-1) as Health;
  }

  /** Whether the process answers within this time: a stuck event loop never does. */
  async isResponsive(withinMs = 3000): Promise<boolean> {
    return this.health(withinMs).then(
      () => true,
      () => false,
    );
  }

  /** Its memory once it has settled: the smallest of some reports, because garbage comes and goes. */
  async settledRssBytes(): Promise<number> {
    this.#child.tell({ kind: 'collectGarbage' } satisfies VictimCommand);
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 10; i += 1) {
      least = Math.min(least, (await this.health()).rssBytes);
      await sleep(20);
    }
    return least;
  }

  /** Waits until a connection of its has ended for such a reason, no longer than this. @returns how it is then */
  async closedBy(reason: RegExp, withinMs = 15_000): Promise<Health> {
    const deadline = Date.now() + withinMs;
    let health = await this.health();
    while (!health.closed.some((text) => reason.test(text)) && Date.now() < deadline) {
      health = await this.health();
    }
    return health;
  }

  #hear(report: Health): void {
    this.#received += 1;
    this.#reports.push(report);
    if (this.#reports.length > 100) this.#reports.shift();
  }
}
