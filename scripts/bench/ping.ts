/** What a round trip takes, over UDP and over an open TCP connection: one byte sequence at a time, there and back. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { SocketAddress } from '../../src/index.js';
import { serveProbes } from './link-probe.js';
import type { PingTargets, RoundTrips } from './protocol.js';

const PING_BYTES = 64;
/** A ping that is not back by then is lost; a link may lose some. */
const LOST_AFTER_MS = 1000;

/** Sends back what comes. The sockets stay until the process ends. */
export async function servePings(host: string): Promise<{ udpPort: number; tcpPort: number }> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  return { udpPort: await serveProbes(host), tcpPort: (server.address() as AddressInfo).port };
}

/** @throws Error when nothing comes back */
export async function ping({ udp, tcp }: PingTargets, count: number): Promise<RoundTrips> {
  return { udpMs: await pingUdp(udp, count), tcpMs: await pingTcp(tcp, count) };
}

async function pingUdp(target: SocketAddress, count: number): Promise<number[]> {
  const socket = createSocket('udp4');
  const samplesMs: number[] = [];
  try {
    for (let number = 0; number < count; number += 1) {
      const bytes = Buffer.alloc(PING_BYTES);
      bytes.writeUInt32BE(number);
      const sample = await new Promise<number | undefined>((resolve) => {
        const sentMs = performance.now();
        const timer = setTimeout(() => resolve(undefined), LOST_AFTER_MS);
        socket.removeAllListeners('message').on('message', (reply) => {
          if (reply.readUInt32BE() !== number) return;
          clearTimeout(timer);
          resolve(performance.now() - sentMs);
        });
        socket.send(bytes, target.port, target.host);
      });
      if (sample !== undefined) samplesMs.push(sample);
    }
  } finally {
    socket.close();
  }
  if (samplesMs.length === 0) throw new Error(`nothing comes back from ${target.host}`);
  return samplesMs;
}

async function pingTcp(target: SocketAddress, count: number): Promise<number[]> {
  const socket = connect({ ...target, noDelay: true });
  const samplesMs: number[] = [];
  try {
    await once(socket, 'connect');
    // The first one, beyond the count, may wait for more than the link: a proxy connects onwards meanwhile.
    for (let number = 0; number <= count; number += 1) {
      const sentMs = performance.now();
      socket.write(Buffer.alloc(PING_BYTES));
      for (let missing = PING_BYTES; missing > 0; ) {
        const [bytes] = (await once(socket, 'data')) as [Buffer];
        missing -= bytes.length;
      }
      if (number > 0) samplesMs.push(performance.now() - sentMs);
    }
  } finally {
    socket.destroy();
  }
  return samplesMs;
}
