/** What a chaos proxy counts. */

/** Of one protocol in one direction; over TCP in segments. */
export interface PathCounters {
  /** Left the proxy, once more for each duplicate. */
  forwarded: number;
  forwardedBytes: number;
  /** UDP: by chance, by a black hole, by the hook or by size. TCP: segments that came late as if lost. */
  dropped: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  /** UDP: dropped because as much as may wait was waiting. TCP: times that reading had to wait. */
  overflowed: number;
}

/** Of UDP in one direction. */
export interface DatagramCounters extends PathCounters {
  /** Of those dropped: larger than the path carries. */
  tooLarge: number;
  /** Of those forwarded: larger than the path carries, in fragments as the sender's system would send them. */
  fragmented: number;
  /** In bytes; 0 when nothing was forwarded. */
  largestForwardedBytes: number;
  /** What came to the proxy, by its size: see {@link sizeClassOf}. */
  readonly sizes: readonly SizeCounters[];
}

export interface SizeCounters {
  /** The largest UDP payload of this class. */
  readonly upToBytes: number;
  forwarded: number;
  dropped: number;
}

/** Acknowledgements and other small ones; then the payloads that paths are known to carry at most. */
export const SIZE_CLASSES = [100, 1200, 1232, 1280, 1350, 1452, Number.POSITIVE_INFINITY] as const;

/** The index of a datagram's class in {@link SIZE_CLASSES} and {@link DatagramCounters.sizes}. */
export function sizeClassOf(bytes: number): number {
  return SIZE_CLASSES.findIndex((upToBytes) => bytes <= upToBytes);
}

export interface ProxyCounters {
  readonly udp: {
    readonly toServer: DatagramCounters;
    readonly toClient: DatagramCounters;
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
    udp: {
      toServer: newDatagramCounters(),
      toClient: newDatagramCounters(),
      rebound: 0,
      refused: 0,
    },
    tcp: { toServer: newPathCounters(), toClient: newPathCounters(), accepted: 0, refused: 0 },
  };
}

function newDatagramCounters(): DatagramCounters {
  return {
    ...newPathCounters(),
    tooLarge: 0,
    fragmented: 0,
    largestForwardedBytes: 0,
    sizes: SIZE_CLASSES.map((upToBytes) => ({ upToBytes, forwarded: 0, dropped: 0 })),
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
