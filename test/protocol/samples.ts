/** Every message of wire version 1 with every field filled in, as the tests use them. */
import type {
  Capabilities,
  LogEntry,
  Message,
  MessageOf,
  MessageType,
  RaftBody,
} from '../../src/protocol/index.js';

/** An integer that 32 bits do not hold. */
export const WIDE = 2 ** 40 + 1;

export const capabilities: Capabilities = {
  query: true,
  replication: true,
  consensus: true,
  dataTransfer: true,
  maxStreams: 1024,
  maxMessageBytes: 16 * 1024 * 1024,
  compressions: ['zstd', 'lz4'],
  checksum: true,
  redundancy: true,
};

export const logEntry: LogEntry = { index: WIDE, term: WIDE, data: Buffer.from('set x') };

type RaftKind = RaftBody['kind'];

/** Each kind of Raft message with every field. */
export const raftBodies: { [K in RaftKind]: Required<Extract<RaftBody, { kind: K }>> } = {
  requestVote: {
    kind: 'requestVote',
    term: WIDE,
    candidateId: 'n1',
    lastLogIndex: WIDE,
    lastLogTerm: WIDE,
  },
  requestVoteResponse: { kind: 'requestVoteResponse', term: WIDE, voteGranted: true },
  appendEntries: {
    kind: 'appendEntries',
    term: WIDE,
    leaderId: 'n1',
    prevLogIndex: WIDE,
    prevLogTerm: WIDE,
    entries: [logEntry, { index: 1, term: 1, data: Buffer.alloc(0) }],
    leaderCommit: WIDE,
  },
  appendEntriesResponse: {
    kind: 'appendEntriesResponse',
    term: WIDE,
    success: false,
    matchIndex: WIDE,
  },
  installSnapshot: {
    kind: 'installSnapshot',
    term: WIDE,
    leaderId: 'n1',
    lastIncludedIndex: WIDE,
    lastIncludedTerm: WIDE,
    offset: WIDE,
    data: Buffer.from('snapshot'),
    done: true,
  },
  installSnapshotResponse: { kind: 'installSnapshotResponse', term: WIDE },
};

const body = { list: [1, 'two', null, true, 1.5], bytes: Buffer.from([0, 255]) };

/** Each message with every field, optional ones included. */
export const samples: { readonly [T in MessageType]: Required<MessageOf<T>> } = {
  handshakeRequest: {
    type: 'handshakeRequest',
    versions: [1],
    nodeId: 'n1',
    cluster: 'demo',
    capabilities,
    timestampMs: 1_767_225_600_000,
    nonce: Buffer.alloc(16, 7),
    authToken: 'a shared secret',
    connectionClass: 'bulk',
    pad: Buffer.alloc(8),
  },
  handshakeResponse: {
    type: 'handshakeResponse',
    accepted: true,
    nodeId: 'n2',
    code: 'NoError',
    text: 'welcome',
    version: 1,
    capabilities,
    sessionId: Buffer.alloc(16, 9),
    connectionClass: 'bulk',
    pad: Buffer.alloc(8),
  },
  ping: { type: 'ping', token: Buffer.from('hello'), copyId: 7 },
  pong: { type: 'pong', token: Buffer.from('hello') },
  queryRequest: {
    type: 'queryRequest',
    query: 'select 1',
    parameters: [1, 'a'],
    database: 'main',
    timeoutMs: WIDE,
    replaySafe: true,
    priority: 'bulk',
    nested: true,
    copyId: 7,
  },
  queryResponse: { type: 'queryResponse', result: [{ rows: [[1]] }] },
  replicationLog: {
    type: 'replicationLog',
    group: 'g1',
    term: WIDE,
    prevIndex: WIDE,
    commitIndex: WIDE,
    entries: [logEntry, { index: 2, term: 1, data: Buffer.alloc(0) }],
    timeoutMs: 250,
    oneWay: true,
    replaySafe: false,
    priority: 'control',
    nested: true,
    copyId: 7,
  },
  consensus: {
    type: 'consensus',
    group: 'g1',
    body: raftBodies.appendEntries,
    timeoutMs: 150,
    oneWay: false,
    replaySafe: true,
    priority: 'normal',
    nested: true,
    copyId: 7,
  },
  dataTransfer: {
    type: 'dataTransfer',
    transferId: 't1',
    offset: WIDE,
    data: Buffer.from('chunk'),
    name: 'backup.tar',
    totalBytes: WIDE,
    metadata: { owner: 'n1' },
    timeoutMs: 10_000,
    priority: 'normal',
    nested: true,
    checksum: 0xcbf4_3926,
    resume: true,
    resumeAt: WIDE,
    priorChecksum: 0xffff_ffff,
  },
  error: { type: 'error', code: 'NoHandler', text: 'nothing serves this', retryable: false },
  request: {
    type: 'request',
    method: 'get',
    body,
    timeoutMs: 500,
    oneWay: true,
    replaySafe: true,
    priority: 'high',
    nested: true,
    copyId: 7,
  },
  response: { type: 'response', body },
};

/** Every sample: the 12 messages, and consensus once more for each kind of body. */
export const allSamples: readonly Message[] = [
  ...Object.values(samples),
  ...Object.values(raftBodies).map((raft): Message => ({ type: 'consensus', body: raft })),
];
