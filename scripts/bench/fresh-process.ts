/** A process that is started for one call, seen from the runner. */
import { Child } from '../children/child.js';
import { Questions } from '../children/questions.js';
import type { Setting } from './protocol.js';

/** What such a process is told. */
export interface FreshCall extends Setting {
  readonly port: number;
  readonly payloadBytes: number;
}

/** On the process's own clock, which began with it. */
export interface FreshReply {
  /** When the first reply was there. */
  readonly replyMs: number;
  /** When the program began. */
  readonly bootMs: number;
  /** Processor time of the whole process until the reply. */
  readonly cpuMs: number;
}

export type FreshReport =
  | ({ readonly kind: 'replied' } & FreshReply)
  | { readonly kind: 'failed'; readonly reason: string };

const LIMIT_MS = 20_000;

/** @throws Error when there is no reply; the signal's reason */
export async function callFromFreshProcess(
  program: string,
  call: FreshCall,
  signal: AbortSignal,
): Promise<FreshReply> {
  signal.throwIfAborted();
  const answers = new Questions<'reply'>();
  const answer = answers.ask<FreshReply>('reply', LIMIT_MS, () => new Error('no reply in time'));
  // With Node's own defaults, as users start it.
  const child = new Child({
    program,
    nodeArguments: [],
    onMessage: (message) => {
      const report = message as FreshReport;
      if (report.kind === 'replied') answers.answer('reply', report);
      else answers.fail('reply', new Error(report.reason));
    },
  });
  const aborted = (): void => answers.fail('reply', signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  const ended = child.gone.then(() => answers.fail('reply', new Error(child.lastWords)));
  child.tell(call);
  try {
    return await answer;
  } finally {
    signal.removeEventListener('abort', aborted);
    child.kill();
    await ended;
  }
}
