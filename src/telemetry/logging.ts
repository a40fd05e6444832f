/** The log of a node: pino, on standard error unless the user brings a logger. */
import type { Logger } from 'pino';
import { latePackage } from '../base/late-package.js';
import { handleRejection, isPromised } from '../base/realms.js';

/** From which level on a node writes log lines. */
export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';

/** A user's own pino logger, or the level of the default one. */
export type LoggingOption = Logger | LogLevel;

/** None of these is ever logged: this is for the day on which somebody forgets. */
const SECRETS = {
  paths: ['key', 'token', 'authToken', '*.key', '*.token', '*.authToken', '*.auth.token'],
  censor: '[redacted]',
};

const RANKS = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const;
type Severity = Exclude<LogLevel, 'silent'>;

/** What a {@link NodeLog} needs of a logger. */
type LineWriter = Pick<Logger, Severity>;

/** Writes lines. Nothing here throws: a logger of the user's that fails loses its line, and the node goes on. */
export class NodeLog {
  readonly #logger: () => LineWriter;
  readonly #leastRank: number;

  /**
   * @param logger asked for each line that is written
   * @param level lines below it are not written
   */
  constructor(logger: () => LineWriter, level: LogLevel = 'debug') {
    this.#logger = logger;
    this.#leastRank = RANKS[level];
  }

  debug(details: object, text: string): void {
    this.#write('debug', details, text);
  }

  info(details: object, text: string): void {
    this.#write('info', details, text);
  }

  warn(details: object, text: string): void {
    this.#write('warn', details, text);
  }

  error(details: object, text: string): void {
    this.#write('error', details, text);
  }

  #write(level: Severity, details: object, text: string): void {
    if (RANKS[level] < this.#leastRank) return;
    try {
      const result: unknown = this.#logger()[level](details, text);
      // Nobody waits for an asynchronous logger, so that its failure is handled here.
      if (result !== undefined) isPromised(result);
    } catch (thrown) {
      handleRejection(thrown);
    }
  }
}

/** The log of one node. Neither keys nor tokens are ever handed to it. @throws what the user's logger throws as it is set up */
export function createLog(option: LoggingOption, nodeId: string): NodeLog {
  if (typeof option === 'string') return new NodeLog(lateLogger(option, nodeId), option);
  const logger = option.child({ nodeId });
  return new NodeLog(() => logger);
}

/** pino, from the first line on that it writes: loading it takes longer than connecting to a peer does. */
function lateLogger(level: LogLevel, nodeId: string): () => LineWriter {
  const load = latePackage<typeof import('pino')>('pino');
  let logger: LineWriter | undefined;
  return () => {
    if (logger === undefined) {
      const { pino, destination } = load();
      const root = pino({ name: 'quicmesh', level, redact: SECRETS }, destination(2));
      logger = root.child({ nodeId });
    }
    return logger;
  };
}
