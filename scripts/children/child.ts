/** A program of this project in a process of its own: started, told things, heard, and never left behind. */
import { type ChildProcess, fork } from 'node:child_process';
import { TYPESCRIPT } from './typescript.js';

export interface ChildOptions {
  /** Path of what it runs. */
  readonly program: string;
  readonly args?: readonly string[] | undefined;
  /** For Node itself. Default: what lets it run TypeScript. */
  readonly nodeArguments?: readonly string[] | undefined;
  /** A command that becomes the one behind it, such as `ip netns exec NAME`: channel and process id stay the same. */
  readonly wrapper?: readonly string[] | undefined;
  /** Whether what it writes is shown. Default false: the end of what it writes to stderr is kept, see `lastWords`. */
  readonly isShown?: boolean | undefined;
  /** A message of its. Its type is what both programs agree on. */
  readonly onMessage: (message: unknown) => void;
}

/** How a process ended, or why it did not begin. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly error?: Error;
}

const MAX_LAST_WORDS = 2000;

/** Whatever is left is killed when this process ends, however that comes about. */
const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export class Child {
  /** Resolves when it is gone and all that it said is here. Never rejects. */
  readonly gone: Promise<ChildEnd>;
  readonly #child: ChildProcess;
  #end: ChildEnd | undefined;
  #lastWords = '';

  constructor(options: ChildOptions) {
    const { program, args = [], nodeArguments = TYPESCRIPT, isShown = false } = options;
    const node = [...(options.wrapper ?? []), process.execPath, ...nodeArguments];
    const child = fork(program, args, {
      execPath: node[0] as string,
      execArgv: node.slice(1),
      stdio: isShown
        ? ['ignore', 'inherit', 'inherit', 'ipc']
        : ['ignore', 'ignore', 'pipe', 'ipc'],
      // In a process group of its own a terminal's Ctrl-C does not reach it: whoever started it ends it.
      detached: true,
    });
    this.#child = child;
    living.add(child);
    child.on('message', options.onMessage);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-MAX_LAST_WORDS);
    });
    this.gone = new Promise((resolve) => {
      const left = (end: ChildEnd): void => {
        living.delete(child);
        this.#end ??= end;
        resolve(this.#end);
      };
      child.once('error', (error) => left({ code: null, signal: null, error }));
      child.once('close', (code, signal) => left({ code, signal }));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** `undefined` while it lives. */
  get end(): ChildEnd | undefined {
    return this.#end;
  }

  /** The end of what it wrote to stderr. */
  get lastWords(): string {
    return this.#lastWords.trim();
  }

  /** Tells it something. Where it is gone, nobody hears it: that is told by `gone`. */
  tell(message: object): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Ends it without a word, or stops and continues it. Does nothing once it is gone. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }
}
