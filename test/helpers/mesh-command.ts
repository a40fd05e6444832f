/** Runs `scripts/mesh.ts` as its users do: a process of its own, which starts the nodes' processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class MeshCommand {
  readonly child: ChildProcess;
  /** Fulfils when the process is gone and everything that it wrote is here. */
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  #onText: () => void = () => {};

  /** Whatever is left of it is killed when the test ends. */
  constructor(t: ExecutionContext, args: readonly string[]) {
    this.child = spawn(process.execPath, [...TYPESCRIPT, 'scripts/mesh.ts', ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#onText();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#onText();
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  /** The nodes' process ids, in their order, as far as the command has told them. */
  get nodePids(): number[] {
    const said = this.stdout + this.stderr;
    return [...said.matchAll(/\bn\d+ +pid (\d+)/g)].map(([, pid]) => Number(pid));
  }

  /** The process ids of its first children, once there are so many; none where the system does not tell. */
  async childPids(count: number): Promise<number[]> {
    const list = `/proc/${this.child.pid}/task/${this.child.pid}/children`;
    while (existsSync(list)) {
      const pids = (await readFile(list, 'utf8')).trim().split(' ').map(Number);
      if (pids.length >= count) return pids;
      await sleep(5);
    }
    return [];
  }

  /** Fulfils when the output matches. @throws Error when the process ends before */
  async said(pattern: RegExp): Promise<void> {
    const matches = new Promise<boolean>((resolve) => {
      this.#onText = () => {
        if (pattern.test(this.stdout + this.stderr)) resolve(true);
      };
      this.#onText();
    });
    if (await Promise.race([matches, this.ended.then(() => false)])) return;
    throw new Error(`ended without saying ${pattern}:\n${this.stdout}\n${this.stderr}`);
  }
}

/** Those of the processes that are still there after at most `limitMs`. */
export async function stillAlive(pids: readonly number[], limitMs: number): Promise<number[]> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const alive = pids.filter(isAlive);
    if (alive.length === 0 || performance.now() > deadlineMs) return alive;
    await sleep(20);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    // A zombie has ended; whether anyone takes note of it is up to the system's first process.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return !existsSync('/proc/self/stat');
  }
}
