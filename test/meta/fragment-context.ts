/** What fragments of code on the pages take for granted: declarations that they are compiled with. */
export const FRAGMENT_CONTEXT = `
declare const node: import('quicmesh').MeshNode;
declare const peer: import('quicmesh').Peer;
declare const tls: import('quicmesh').TlsMaterial;
declare const createNode: typeof import('quicmesh').createNode;
declare const crc32: typeof import('quicmesh').crc32;
declare const dnsDiscovery: typeof import('quicmesh').dnsDiscovery;
declare const sameToken: typeof import('quicmesh').sameToken;
declare const toNodeDuplex: typeof import('quicmesh').toNodeDuplex;
declare const MeshError: typeof import('quicmesh').MeshError;
declare const TcpTransport: typeof import('quicmesh/transport').TcpTransport;
declare const createReadStream: typeof import('node:fs').createReadStream;
declare const createWriteStream: typeof import('node:fs').createWriteStream;
declare const pipeline: typeof import('node:stream/promises').pipeline;


// The reader's own: a state machine, files, secrets.
type RaftOf<K> = Extract<import('quicmesh').RaftBody, { kind: K }>;
declare const raft: {
  vote(request: RaftOf<'requestVote'>): { term: number; voteGranted: boolean };
  append(request: RaftOf<'appendEntries'>): { term: number; success: boolean; matchIndex: number };
  countVote(nodeId: string): void;
};
declare const log: {
  append(entries: readonly import('quicmesh').LogEntry[]): Promise<number>;
  commit(index: number): void;
};
declare function transform(chunk: Uint8Array): Uint8Array;
declare function write(chunk: Uint8Array): Promise<void>;
declare function openPartial(name: string): Promise<{
  readonly size: number;
  readonly checksum: number;
  append(chunk: Uint8Array, checksum: number): Promise<void>;
}>;
declare const partial: { readonly size: number; readonly checksum: number };
declare function tokenOf(nodeId: string): string;
declare function mayCall(nodeId: string, method: string): boolean;
declare const body: Iterable<Uint8Array>;
declare const entries: readonly import('quicmesh').LogEntry[];
declare const heartbeat: import('quicmesh').Consensus;
declare const host: string;
declare const path: string;
declare const port: number;
declare const query: string;
declare const sample: unknown;
declare const signal: AbortSignal;
declare let dropped: number;
`;
