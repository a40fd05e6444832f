/**
 * What a dialer's early data was sent by: limits that the peer granted in an earlier connection. A peer that takes the
 * data must grant as much again (RFC 9000, section 7.4.1). One that refuses it may grant less, and what was sent in
 * vain is then beyond its limits when QUIC sends it again: such a connection is better begun anew.
 */
import type { NativeConnection } from './native.js';

export interface PeerLimits {
  readonly streams: number;
  readonly controlStreams: number;
  readonly connectionBytes: number;
  readonly streamBytes: number;
  readonly controlStreamBytes: number;
}

/** Those in force now: remembered ones before TLS is done, the peer's own after. */
export function readPeerLimits(native: NativeConnection): PeerLimits {
  const stats = native.stats();
  return {
    streams: stats.peerInitialMaxStreamsBidi,
    controlStreams: stats.peerInitialMaxStreamsUni,
    connectionBytes: stats.peerInitialMaxData,
    streamBytes: stats.peerInitialMaxStreamDataBidiRemote,
    controlStreamBytes: stats.peerInitialMaxStreamDataUni,
  };
}

/** Whether any limit is smaller than it was. */
export function grantsLess(now: PeerLimits, before: PeerLimits): boolean {
  return (Object.keys(before) as (keyof PeerLimits)[]).some((limit) => now[limit] < before[limit]);
}
