/** The log of a node under a flood of peers that are turned away. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import type { SocketAddress } from '../../src/index.js';
import { startNode } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

interface Line {
  readonly time: number;
  readonly msg: string;
  readonly source?: string;
  readonly lines?: number;
}

const FLOOD = 60;

test('a flood of refused connections from one source has a line a second, which says how many more', async (t) => {
  const lines: Line[] = [];
  const log = new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) lines.push(JSON.parse(line));
      done();
    },
  });
  const logger = pino({ level: 'warn' }, log);
  const admission = { silent: 'off' } as const;
  const node = await startNode(t, 'n2', { transports: ['tcp'], logger, admission });
  const { host, port } = node.address as SocketAddress;
  for (let sent = 0; sent < FLOOD; sent += 1) {
    const socket = connect(port, host).on('error', () => {});
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    socket.end('GET / HTTP/1.1\r\n\r\n');
  }
  await until(() => node.counters.handshakes.refused === FLOOD);
  const told = () =>
    lines.reduce((sum, line) => sum + (line.msg === 'peer refused' ? 1 : (line.lines ?? 0)), 0);
  await until(() => told() === FLOOD);
  t.true(lines.some(({ source }) => source === host));
  for (const [i, { time }] of lines.entries()) {
    // Two clocks, which round in different ways.
    if (i > 0) t.true(time - (lines[i - 1] as Line).time >= 990);
  }
});
