/** Two connections within one process, over a pair of streams: the multiplexer without a socket. */
import type { Duplex } from 'node:stream';
import type { PeerIdentity, Role, StreamLimits } from '../../src/transport/connection.js';
import { MuxConnection } from '../../src/transport/mux/connection.js';
import type { ConnectionPair, PairOptions } from '../compliance/connection-suite.js';
import { memoryWire } from './memory-wire.js';

/** A dialer n1 and an acceptor n2. */
export async function memoryPair({ limits }: PairOptions = {}): Promise<ConnectionPair> {
  const [near, far] = memoryWire();
  const dialer = memoryConnection(near, 'dialer', limits);
  const acceptor = memoryConnection(far, 'acceptor', limits);
  return {
    dialer,
    acceptor,
    close: async () => {
      await Promise.all([dialer.close(), acceptor.close()]);
    },
  };
}

/** One end, over any stream of bytes. */
export function memoryConnection(
  duplex: Duplex,
  role: Role,
  limits?: Partial<StreamLimits>,
): MuxConnection {
  const [local, remote] = role === 'dialer' ? [1, 2] : [2, 1];
  return new MuxConnection(duplex, {
    transport: 'memory',
    role,
    peerIdentity: stubIdentity(`n${remote}`),
    localAddress: { host: 'memory', port: local },
    remoteAddress: { host: 'memory', port: remote },
    limits,
  });
}

function stubIdentity(nodeId: string): PeerIdentity {
  return {
    nodeIds: [nodeId],
    fingerprint256: '00',
    keyFingerprint256: '00',
    validToMs: Number.MAX_SAFE_INTEGER,
    chain: [],
  };
}
