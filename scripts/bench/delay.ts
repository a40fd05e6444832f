/** A link with delay on one machine: what passes it, over UDP and TCP, is so much later. */
import type { SocketAddress } from '../../src/index.js';
import { ChaosProxy } from '../../test/helpers/chaos-proxy/proxy.js';

/** @returns the port, for both protocols; the proxy stays until the process ends */
export async function serveDelay(target: SocketAddress, delayMs: number): Promise<number> {
  const proxy = await ChaosProxy.start({ target, faults: { delayMs } });
  return proxy.address.port;
}
