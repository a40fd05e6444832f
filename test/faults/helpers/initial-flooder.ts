/**
 * A process that sends first packets of dialers to a node as fast as it can. They look as good as they can without a key: each
 * has a source connection ID as long as a knock, of the present time. Started by `silent-port.fault.ts`; ends with its parent.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createKnock } from '../../../src/protocol/knock.js';
import type { SocketAddress } from '../../../src/transport/connection.js';

export interface FloodCommand {
  readonly target: SocketAddress;
  readonly forMs: number;
}

export interface FloodReport {
  readonly sent: number;
  readonly cpuMs: number;
}

/** Sent in a row, before the event loop gets its turn. */
const BURST = 64;
const PACKETS = 256;

process.on('disconnect', () => process.exit());
process.on('message', ({ target, forMs }: FloodCommand) => void flood(target, forMs));

async function flood({ host, port }: SocketAddress, forMs: number): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => socket.connect(port, host, resolve));
  socket.on('error', () => {});
  const packets = Array.from({ length: PACKETS }, forgedInitial);
  const before = process.cpuUsage();
  const endMs = performance.now() + forMs;
  let sent = 0;
  while (performance.now() < endMs) {
    const burst = Array.from({ length: BURST }, (_, i) => {
      const packet = packets[(sent + i) % PACKETS] as Buffer;
      return new Promise((resolve) => socket.send(packet, resolve));
    });
    await Promise.all(burst);
    sent += BURST;
  }
  const { user, system } = process.cpuUsage(before);
  socket.close();
  process.send?.({ sent, cpuMs: (user + system) / 1000 } satisfies FloodReport);
}

function forgedInitial(): Buffer {
  const target = { transport: 'quic', nodeId: 'n2' } as const;
  const knock = createKnock(randomBytes(32), target, Date.now(), randomBytes(8));
  const head = Buffer.concat([
    Buffer.from([0xc3, 0, 0, 0, 1, 16]),
    randomBytes(16),
    Buffer.of(knock.length),
    knock,
    // No token, and the length of the rest.
    Buffer.from([0, 0x44, 0x80]),
  ]);
  return Buffer.concat([head, randomBytes(1200 - head.length)]);
}
