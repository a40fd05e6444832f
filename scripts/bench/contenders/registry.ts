/** The contenders by name. Each module is loaded only in the processes that need it. */
import type { Contender } from './contender.js';
import type { Library } from './quicmesh.js';

export interface ContenderEntry {
  /** What carries it; its limit is the bare loop over the same. */
  readonly family: 'quic' | 'tcp';
  /** What it is, in a line for the report. */
  readonly description: string;
  /** What it survives, where that is less than the suites ask of the others. */
  readonly atMost?: { readonly concurrency: number; readonly uploadBytes: number };
  /** Quick runs leave it out, unless it is named. */
  readonly isExtra?: boolean;
  /** @param library quicmesh, where it is not to be that of this build */
  readonly load: (library?: LoadLibrary) => Promise<Contender>;
}

type LoadLibrary = () => Promise<Library>;

const thisBuild: LoadLibrary = () => import('../../../src/index.js');

export const CONTENDERS = {
  'quicmesh-quic': {
    family: 'quic',
    description: 'quicmesh over QUIC, all of it: codec, checksums, limits, counters',
    load: async (library = thisBuild) =>
      (await import('./quicmesh.js')).quicmeshOver(await library(), ['quic']),
  },
  'quicmesh-tcp': {
    family: 'tcp',
    description: 'quicmesh over TCP, likewise',
    load: async (library = thisBuild) =>
      (await import('./quicmesh.js')).quicmeshOver(await library(), ['tcp']),
  },
  'quicmesh-auto': {
    family: 'quic',
    description:
      'quicmesh with both transports, as it is without options: QUIC, and TCP where it chooses',
    load: async (library = thisBuild) =>
      (await import('./quicmesh.js')).quicmeshOver(await library()),
  },
  'grpc-js': {
    family: 'tcp',
    description: '@grpc/grpc-js, unary calls and client streams of plain bytes, without protobuf',
    load: async () => (await import('./grpc-js.js')).grpcJs,
  },
  http2: {
    family: 'tcp',
    description: 'node:http2, one session',
    load: async () => (await import('./http2.js')).http2,
  },
  'matrixai-classes': {
    family: 'quic',
    description: 'QUICClient and QUICServer of @matrixai/quic, which fail with 64 calls at once',
    isExtra: true,
    atMost: { concurrency: 16, uploadBytes: 2_000_000 },
    load: async () => (await import('./matrixai-classes.js')).matrixaiClasses,
  },
  'bare-tls': {
    family: 'tcp',
    description: 'a TLS 1.3 socket that echoes bytes unparsed: the limit for TCP',
    load: async () => (await import('./bare-tls.js')).bareTls,
  },
  'bare-quic': {
    family: 'quic',
    description: 'a loop over the native QUIC connection that echoes streams unparsed: the limit',
    load: async () => (await import('./bare-quic.js')).bareQuic,
  },
  'bare-quic-batched': {
    family: 'quic',
    description: 'the same, but sending once a turn of the event loop, not after every datagram',
    isExtra: true,
    load: async () => (await import('./bare-quic.js')).bareQuicBatched,
  },
} as const satisfies Readonly<Record<string, ContenderEntry>>;

/** As the runner sees them, without the differences of their types. */
export function contenderEntry(name: ContenderName): ContenderEntry {
  return CONTENDERS[name];
}

export type ContenderName = keyof typeof CONTENDERS;
export const CONTENDER_NAMES = Object.keys(CONTENDERS) as ContenderName[];

/** Those that suites with many rounds compare: one of each kind. */
export const MAIN_CONTENDERS: readonly ContenderName[] = [
  'quicmesh-quic',
  'quicmesh-tcp',
  'quicmesh-auto',
  'grpc-js',
  'http2',
  'bare-tls',
  'bare-quic',
];
