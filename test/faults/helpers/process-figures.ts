/** What Linux knows of a process without asking it. */
import { readFileSync } from 'node:fs';

/** Linux counts in these, whatever its own clock does. */
const TICKS_PER_SECOND = 100;
const LOOK_EVERY_MS = 50;

export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Of all processors, by the process and by the system for it. */
export function processorSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name before may have spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** So long its first thread, which runs JavaScript, could have gone on and had no processor. */
export function waitedSeconds(pid: number): number {
  const [, waitedNs] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ');
  return Number(waitedNs) / 1e9;
}

/** The largest resident sizes while it watches. */
export class MemoryWatch {
  readonly #largest = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(pids: readonly number[]) {
    const look = () => {
      for (const pid of pids) {
        this.#largest.set(pid, Math.max(this.#largest.get(pid) ?? 0, residentBytes(pid)));
      }
    };
    look();
    this.#timer = setInterval(look, LOOK_EVERY_MS);
  }

  /** Ends it. */
  stop(): ReadonlyMap<number, number> {
    clearInterval(this.#timer);
    return this.#largest;
  }
}
