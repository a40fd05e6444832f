import test from 'ava';
import type { Logger } from 'pino';
import { createLog } from '../../src/telemetry/logging.js';
import { ODD_VALUES } from '../helpers/odd-values.js';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** A user's logger that does the same for every line. */
function loggerOf(write: (...line: readonly unknown[]) => unknown): Logger {
  const child = { debug: write, info: write, warn: write, error: write };
  return { child: () => child } as unknown as Logger;
}

test('a line reaches the logger with its level, its details and its text', (t) => {
  const lines: unknown[] = [];
  const writers = LEVELS.map((level) => [
    level,
    (...line: readonly unknown[]) => lines.push([level, ...line]),
  ]);
  const made: unknown[] = [];
  const child = (bindings: unknown) => {
    made.push(bindings);
    return Object.fromEntries(writers);
  };
  const log = createLog({ child } as unknown as Logger, 'n1');
  for (const level of LEVELS) log[level]({ a: 1 }, 'text');
  t.deepEqual(made, [{ nodeId: 'n1' }]);
  t.deepEqual(
    lines,
    LEVELS.map((level) => [level, { a: 1 }, 'text']),
  );
});

test('a logger that fails, at once or later, loses its line and nothing else', async (t) => {
  for (const [name, make] of Object.entries(ODD_VALUES)) {
    const throws = createLog(
      loggerOf(() => {
        throw make();
      }),
      'n1',
    );
    const rejects = createLog(
      loggerOf(async () => {
        throw make();
      }),
      'n1',
    );
    const answers = createLog(loggerOf(make), 'n1');
    for (const log of [throws, rejects, answers]) {
      for (const level of LEVELS) t.notThrows(() => log[level]({}, 'text'), name);
    }
  }
  // A rejection that nobody handles makes this file fail.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
});
