/** What a chaos proxy counts. */

/** Of one protocol in one direction; over TCP in segments. */
export interface PathCounters {
  /** Left the proxy, once more for each duplicate. */
  forwarded: number;
  forwardedBytes: number;
  /** UDP: by chance, by a black hole or by the hook. TCP: segments that came late as if lost. */
  dropped: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  /** UDP: dropped because as much as may wait was waiting. TCP: times that reading had to wait. */
  overflowed: number;
}

export interface ProxyCounters {
  readonly udp: {
    readonly toServer: PathCounters;
    readonly toClient: PathCounters;
    /** Source ports changed, of all clients together. */
    rebound: number;
    /** Clients turned away because there were as many as there may be. */
    refused: number;
  };
  readonly tcp: {
    readonly toServer: PathCounters;
    readonly toClient: PathCounters;
    accepted: number;
    refused: number;
  };
}

export function newProxyCounters(): ProxyCounters {
  return {
    udp: { toServer: newPathCounters(), toClient: newPathCounters(), rebound: 0, refused: 0 },
    tcp: { toServer: newPathCounters(), toClient: newPathCounters(), accepted: 0, refused: 0 },
  };
}

function newPathCounters(): PathCounters {
  return {
    forwarded: 0,
    forwardedBytes: 0,
    dropped: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
    overflowed: 0,
  };
}
