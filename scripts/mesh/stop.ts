/** How a run is ended before its time: Ctrl-C, SIGTERM, or the end of whoever runs it. */

/** Whoever runs the mesh wants it to end now. */
export class Stopped extends Error {
  /** What this process is to end with. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Fires once, with a {@link Stopped} as its reason. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  process.on('SIGINT', () => stop.abort(new Stopped('stopped by SIGINT', 130)));
  process.on('SIGTERM', () => stop.abort(new Stopped('stopped by SIGTERM', 143)));
  // A runner that is killed, such as tsx or a shell, passes no signal on: this process just gets another parent.
  const { ppid } = process;
  const watch = () => {
    if (process.ppid !== ppid) stop.abort(new Stopped('the process that ran it is gone', 1));
  };
  setInterval(watch, WATCH_EVERY_MS).unref();
  return stop.signal;
}

const WATCH_EVERY_MS = 250;
