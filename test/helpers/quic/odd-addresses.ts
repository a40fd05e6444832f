/** Addresses that nobody has, that are no address of a peer, or that are written in odd ways. */
import type { SocketAddress } from '../../../src/transport/connection.js';

export const ODD_ADDRESSES: readonly SocketAddress[] = [
  { host: '127.0.0.1', port: 0 },
  { host: '::1', port: 0 },
  { host: '0.0.0.0', port: 0 },
  { host: '0.0.0.0', port: 9 },
  { host: '::', port: 9 },
  { host: '255.255.255.255', port: 9 },
  { host: '127.255.255.255', port: 9 },
  { host: '224.0.0.1', port: 9 },
  { host: 'ff02::1', port: 9 },
  { host: 'ff02::1%lo', port: 9 },
  { host: 'fe80::1', port: 9 },
  { host: 'fe80::1%lo', port: 9 },
  { host: 'fe80::1%nowhere', port: 9 },
  { host: '::ffff:127.0.0.1', port: 9 },
  { host: '::127.0.0.1', port: 9 },
  { host: '127.0.0.1', port: -1 },
  { host: '127.0.0.1', port: 65_536 },
  { host: '127.0.0.1', port: 1.5 },
  { host: '127.0.0.1', port: Number.NaN },
  { host: '', port: 9 },
  { host: 'a name', port: 9 },
];
/** Of these, such as Node refuses by throwing. */
export const BAD_PORTS = 7;
