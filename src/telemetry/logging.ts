/** The log of a node: pino, on standard error unless the user brings a logger. */
import { destination, type Logger, pino } from 'pino';

/** From which level on a node writes log lines. */
export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';

/** A user's own pino logger, or the level of the default one. */
export type LoggingOption = Logger | LogLevel;

/** None of these is ever logged: this is for the day on which somebody forgets. */
const SECRETS = {
  paths: ['key', 'token', 'authToken', '*.key', '*.token', '*.authToken', '*.auth.token'],
  censor: '[redacted]',
};

/** The logger of one node. Neither keys nor tokens are ever handed to it. */
export function createLogger(option: LoggingOption, nodeId: string): Logger {
  const parent =
    typeof option === 'string'
      ? pino({ name: 'quicmesh', level: option, redact: SECRETS }, destination(2))
      : option;
  return parent.child({ nodeId });
}
