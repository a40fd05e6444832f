/** The log of a node: pino, on standard error unless the user brings a logger. */
import { destination, type Logger, pino } from 'pino';
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

/** Writes lines. Nothing here throws: a logger of the user's that fails loses its line, and the node goes on. */
export class NodeLog {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
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

  #write(level: 'debug' | 'info' | 'warn' | 'error', details: object, text: string): void {
    try {
      const result: unknown = this.#logger[level](details, text);
      // Nobody waits for an asynchronous logger, so that its failure is handled here.
      if (result !== undefined) isPromised(result);
    } catch (thrown) {
      handleRejection(thrown);
    }
  }
}

/** The log of one node. Neither keys nor tokens are ever handed to it. @throws what the user's logger throws as it is set up */
export function createLog(option: LoggingOption, nodeId: string): NodeLog {
  const parent =
    typeof option === 'string'
      ? pino({ name: 'quicmesh', level: option, redact: SECRETS }, destination(2))
      : option;
  return new NodeLog(parent.child({ nodeId }));
}
