/** Finds out what a link does: datagrams that are sent back as they come, counted and timed. */
import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SocketAddress } from '../../src/index.js';
import { percentile } from './measure.js';
import type { LinkFigures } from './protocol.js';

const PROBE_BYTES = 64;
const BATCH = 10;
const BATCH_EVERY_MS = 5;
/** For the last probes to come back. */
const LAST_WAIT_MS = 500;

/** @returns the port; the socket stays until the process ends */
export async function serveProbes(host: string): Promise<number> {
  const socket = await bind(host);
  socket.on('message', (probe, from) => socket.send(probe, from.port, from.address));
  return socket.address().port;
}

/** Probes at a pace that no queue on the way notices. */
export async function probeLink(target: SocketAddress, count: number): Promise<LinkFigures> {
  const socket = await bind();
  const sentMs: number[] = [];
  const rttsMs: number[] = [];
  socket.on('message', (probe) => {
    rttsMs.push(performance.now() - (sentMs[probe.readUInt32BE()] as number));
  });
  try {
    while (sentMs.length < count) {
      for (let i = 0; i < BATCH && sentMs.length < count; i += 1) {
        const probe = Buffer.alloc(PROBE_BYTES);
        probe.writeUInt32BE(sentMs.length);
        sentMs.push(performance.now());
        socket.send(probe, target.port, target.host);
      }
      await sleep(BATCH_EVERY_MS);
    }
    await sleep(LAST_WAIT_MS);
  } finally {
    socket.close();
  }
  if (rttsMs.length === 0) throw new Error(`nothing comes back from ${target.host}`);
  return {
    rttMs: percentile(Float64Array.from(rttsMs).sort(), 50),
    lostPercent: 100 * (1 - rttsMs.length / count),
  };
}

function bind(host?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(0, host, () => resolve(socket));
  });
}
