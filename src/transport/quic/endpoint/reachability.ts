/** Decides whether a peer can be reached from a given address of this machine. */
import { createSocket } from 'node:dgram';
import { BlockList } from 'node:net';
import { textOf } from '../../../base/realms.js';
import { MeshError } from '../../../errors.js';
import type { SocketAddress } from '../../connection.js';
import { localAddresses } from '../../local-addresses.js';
import { isIPv6, isLoopback } from '../../socket-address.js';

/**
 * Whether datagrams from a socket that is bound to this address reach the peer, and its answers come back. That is so when
 * the system would pick the same source address for the peer, or one of the same network on the same interface.
 * @throws MeshError ConnectFailed when the system has no route to the peer
 */
export async function reaches(bound: string, peer: SocketAddress): Promise<boolean> {
  if (bound === peer.host || (isLoopback(bound) && isLoopback(peer.host))) return true;
  const source = await sourceTowards(peer);
  if (source === bound) return true;
  // Addresses of this machine reach each other, as long as both are loopback addresses or neither is.
  if (source === peer.host && isLoopback(bound) === isLoopback(source)) return true;
  const its = localAddresses();
  const via = its.find(({ host }) => host === source);
  const link = its.find(({ host }) => host === bound)?.interfaceName;
  if (via === undefined || via.interfaceName !== link) return false;
  const network = new BlockList();
  const family = isIPv6(source) ? 'ipv6' : 'ipv4';
  network.addSubnet(withoutZone(source), via.prefixBits, family);
  return network.check(withoutZone(bound), family);
}

/** The source address that the system picks. A connected UDP socket shows it, and sends nothing. */
async function sourceTowards({ host, port }: SocketAddress): Promise<string> {
  const socket = createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    lookup: (name, _options, done) => done(null, name, isIPv6(name) ? 6 : 4),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', resolve);
      socket.connect(port, host);
    });
    return socket.address().address;
  } catch (cause) {
    const text = `no way from this machine to ${host}: ${textOf(cause)}`;
    throw new MeshError('ConnectFailed', text, { cause });
  } finally {
    socket.close();
  }
}

function withoutZone(host: string): string {
  return host.split('%')[0] as string;
}
