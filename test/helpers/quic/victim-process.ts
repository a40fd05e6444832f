/**
 * A process that listens over QUIC, answers every frame with itself or without end, and tells now and then how it is: what a test
 * attacks that may not stop with it. Started by `victim.ts`; ends with its parent.
 */
import { performance } from 'node:perf_hooks';
import type { MeshError } from '../../../src/errors.js';
import type { Connection } from '../../../src/transport/connection.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { echoAcceptor } from '../frame-client.js';
import type { VictimCommand, VictimOptions, VictimReport } from './victim.js';

const REPORT_EVERY_MS = 20;

process.on('disconnect', () => process.exit());
process.on('message', (command: VictimCommand) => {
  if (command.kind === 'listen') void listen(command.options);
  // Garbage that is not collected yet is not what an attack made the process keep.
  else globalThis.gc?.();
});

async function listen({ tls, serves, port = 0, ...rest }: VictimOptions): Promise<void> {
  const transport = new QuicTransport({ cluster: 'test', ...rest, tls: () => tls });
  const closed: string[] = [];
  const listener = await transport.listen({
    host: '127.0.0.1',
    port,
    onConnection: (connection) => {
      if (serves === 'endless') endlessAcceptor(connection);
      else echoAcceptor(connection);
      void connection.closed.then((error: MeshError) => {
        closed.push(`${error.code}: ${error.message}`);
      });
    },
    onRefused: ({ error }) => closed.push(`${error.code}: ${error.message}`),
  });
  tell({ kind: 'listening', address: listener.address });
  let busyMs = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    busyMs = Math.max(busyMs, now - last - REPORT_EVERY_MS);
    last = now;
    const rssBytes = process.memoryUsage.rss();
    tell({ kind: 'health', rssBytes, busyMs, counters: { ...transport.counters }, closed });
  }, REPORT_EVERY_MS);
}

/** Answers every stream with bytes that never end, as fast as the stream takes them. */
function endlessAcceptor(connection: Connection): void {
  const chunk = Buffer.alloc(64 * 1024, 0x61);
  connection.onStream = (stream) => {
    const send = () => {
      while (stream.send(chunk));
    };
    return { onFrame: send, onEnd() {}, onReset() {}, onDrain: send };
  };
}

function tell(report: VictimReport): void {
  process.send?.(report);
}
