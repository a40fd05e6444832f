/** Ports for nodes that come back to where they were. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * So many ports that are free for UDP and TCP, and out of the range that systems pick from: while its node is away,
 * nobody's outgoing connection can take one, and no dialer can happen to reach itself.
 * @throws Error when they are not found
 */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let attempt = 0; attempt < MAX_ATTEMPTS && found.size < count; attempt += 1) {
    const port = randomInt(FIRST, LAST);
    if (await isFree(port)) found.add(port);
  }
  if (found.size < count) throw new Error(`no ${count} free ports from ${FIRST} to ${LAST}`);
  return [...found];
}

/** One of them. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

const FIRST = 20_000;
const LAST = 32_000;
const MAX_ATTEMPTS = 500;

async function isFree(port: number): Promise<boolean> {
  const tcp = createServer();
  const udp = createSocket('udp4');
  try {
    tcp.listen(port, '127.0.0.1');
    await once(tcp, 'listening');
    udp.bind(port, '127.0.0.1');
    await once(udp, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    tcp.close();
    udp.close();
  }
}
