/**
 * Shares the process's thread pool between peers. File system and DNS work of the whole process waits in the same pool
 * (libuv's, four threads by default), so jobs for peers never take all of its threads, and those for one peer no more than half.
 */
import { Fifo } from './fifo.js';

/** How many jobs run at once, over all lanes. Lanes that have more take turns. */
export class JobTurns {
  readonly limit: number;
  /** Lanes with a job that could run, in the order of their turns. */
  readonly #waiting = new Set<JobLane>();
  #running = 0;

  /** @param limit at least 1 */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Jobs that run now. */
  get running(): number {
    return this.#running;
  }

  /** @internal The lane has a job that could run. */
  offer(lane: JobLane): void {
    this.#waiting.add(lane);
    this.#start();
  }

  /** @internal A job is done. */
  done(): void {
    this.#running -= 1;
    this.#start();
  }

  #start(): void {
    for (const lane of this.#waiting) {
      if (this.#running >= this.limit) return;
      // The next time it is at the end of the order.
      this.#waiting.delete(lane);
      this.#running += 1;
      lane.next();
    }
  }
}

/** The jobs of one peer, in order. Whoever adds jobs bounds how many wait. */
export class JobLane {
  readonly #turns: JobTurns;
  readonly #limit: number;
  readonly #jobs = new Fifo<() => Promise<unknown>>();
  #running = 0;

  /** Half of what runs at once, so that a single lane leaves room for others. */
  constructor(turns: JobTurns) {
    this.#turns = turns;
    this.#limit = Math.max(1, Math.floor((turns.limit + 1) / 2));
  }

  /** Jobs that wait. */
  get waiting(): number {
    return this.#jobs.length;
  }

  /** Runs a job when it is its turn, at once if nothing is ahead of it. @returns what the job returns or throws */
  run<T>(job: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#jobs.push(async () => {
        try {
          resolve(await job());
        } catch (thrown) {
          reject(thrown);
        }
      });
      this.#offer();
    });
  }

  /** @internal It is this lane's turn. */
  next(): void {
    const job = this.#jobs.shift() as () => Promise<unknown>;
    this.#running += 1;
    this.#offer();
    void job().then(() => {
      this.#running -= 1;
      this.#offer();
      this.#turns.done();
    });
  }

  #offer(): void {
    if (this.#jobs.length > 0 && this.#running < this.#limit) this.#turns.offer(this);
  }
}
