/** The calls that the workload is mixed from: at least one for every type of message, each with its answer checked. */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  type Consensus,
  type LogEntry,
  MeshError,
  type MessageType,
  type Peer,
  type RaftBody,
} from '../../src/index.js';
import { pseudoRandomBytes, sha256Of } from './pseudo-random.js';

/** One worker: makes one call at a time to one peer. */
export interface Caller {
  readonly nodeId: string;
  readonly peer: Peer;
  /** The row of the peer's store that is this caller's own. */
  readonly key: string;
  /** What the row holds; `undefined` before the first write and after one that failed. */
  value?: string | undefined;
  /** The life of the peer's store that `value` was written in. */
  life?: string | undefined;
  /** This node's log and term towards the peer, shared by all callers of the pair. */
  readonly log: { index: number; term: number };
}

export interface CallSpec {
  /** The type of message that it counts under. */
  readonly type: MessageType;
  /** The type of its answer. `undefined` for one-way messages. */
  readonly answer: MessageType | undefined;
  /** How often it comes in the mix, compared with the others. */
  readonly weight: number;
  /** Makes the call. @throws Error when it fails or is answered wrongly */
  readonly make: (caller: Caller) => Promise<void>;
}

const TIMEOUT_MS = 10_000;
const LIMITS = { timeoutMs: TIMEOUT_MS };
const MAX_TRANSFER_BYTES = 96 * 1024;

export const CALLS: readonly CallSpec[] = [
  { type: 'ping', answer: 'pong', weight: 6, make: ping },
  { type: 'queryRequest', answer: 'queryResponse', weight: 5, make: write },
  { type: 'queryRequest', answer: 'queryResponse', weight: 7, make: readBack },
  { type: 'replicationLog', answer: 'response', weight: 5, make: replicate },
  { type: 'replicationLog', answer: undefined, weight: 3, make: replicateOneWay },
  { type: 'consensus', answer: 'consensus', weight: 1, make: requestVote },
  { type: 'consensus', answer: 'consensus', weight: 4, make: appendEntries },
  { type: 'consensus', answer: undefined, weight: 2, make: heartbeat },
  { type: 'request', answer: 'response', weight: 5, make: echo },
  { type: 'error', answer: 'error', weight: 1, make: mustFail },
  { type: 'dataTransfer', answer: 'dataTransfer', weight: 1, make: upload },
  { type: 'dataTransfer', answer: 'dataTransfer', weight: 1, make: download },
];

/** One round of the mix: every call as often as its weight says, spread evenly. */
export function oneRound(calls: readonly CallSpec[] = CALLS): readonly CallSpec[] {
  return calls
    .flatMap((spec) =>
      Array.from({ length: spec.weight }, (_, nth) => ({ spec, at: (nth + 0.5) / spec.weight })),
    )
    .sort((a, b) => a.at - b.at)
    .map(({ spec }) => spec);
}

async function ping({ peer }: Caller): Promise<void> {
  const token = randomBytes(8);
  const pong = await peer.request({ type: 'ping', token }, LIMITS);
  expect(pong.token !== undefined && token.equals(pong.token), 'another token came back');
}

async function write(caller: Caller): Promise<void> {
  const { peer, key } = caller;
  const value = randomBytes(48).toString('base64');
  caller.value = undefined;
  const parameters = { key, value };
  const reply = await peer.request({ type: 'queryRequest', query: 'put', parameters }, LIMITS);
  const { version, life } = reply.result as { version: number; life?: string };
  expect(version > 0, `wrote version ${version}`);
  caller.value = value;
  caller.life = life;
}

async function readBack({ peer, key, value, life }: Caller): Promise<void> {
  const parameters = { key };
  const reply = await peer.request({ type: 'queryRequest', query: 'get', parameters }, LIMITS);
  if (value === undefined) return;
  const row = reply.result as { value: unknown; life?: string };
  // A store that was started again has none of the rows before.
  const written = row.life === life ? value : null;
  expect(row.value === written, 'read another value than was written');
}

async function replicate({ peer, log }: Caller): Promise<void> {
  const prevIndex = log.index;
  const entries = nextEntries(log, 4);
  const reply = await peer.request(
    { type: 'replicationLog', term: log.term, prevIndex, commitIndex: prevIndex, entries },
    LIMITS,
  );
  const { stored, bytes } = reply.body as { stored: number; bytes: number };
  expect(stored === 4 && bytes === 4 * ENTRY_BYTES, `${stored} entries were stored in place of 4`);
}

async function replicateOneWay({ peer, log }: Caller): Promise<void> {
  const prevIndex = log.index;
  const entries = nextEntries(log, 1);
  await peer.send(
    { type: 'replicationLog', term: log.term, prevIndex, commitIndex: prevIndex, entries },
    LIMITS,
  );
}

async function requestVote({ nodeId, peer, log }: Caller): Promise<void> {
  log.term += 1;
  const { term } = log;
  const reply = await peer.request(
    raft(nodeId, {
      kind: 'requestVote',
      term,
      candidateId: nodeId,
      lastLogIndex: log.index,
      lastLogTerm: term - 1,
    }),
    LIMITS,
  );
  const { body } = reply;
  if (body.kind !== 'requestVoteResponse') throw new Error(`answered by ${body.kind}`);
  // Another worker's entries of this term, or a later one, may have overtaken it.
  expect(body.voteGranted ? body.term === term : body.term >= term, 'the vote does not add up');
  log.term = Math.max(log.term, body.term);
}

async function appendEntries({ nodeId, peer, log }: Caller): Promise<void> {
  const { term, index } = log;
  const entries = nextEntries(log, 2);
  const reply = await peer.request(raft(nodeId, append(nodeId, term, index, entries)), LIMITS);
  const { body } = reply;
  if (body.kind !== 'appendEntriesResponse') throw new Error(`answered by ${body.kind}`);
  expect(body.success ? body.matchIndex === index + 2 : body.term > term, 'wrong match index');
  // The peer knows the terms of the process before this one.
  log.term = Math.max(log.term, body.term);
}

async function heartbeat({ nodeId, peer, log }: Caller): Promise<void> {
  await peer.send(raft(nodeId, append(nodeId, log.term, log.index, [])), LIMITS);
}

async function echo({ peer }: Caller): Promise<void> {
  const body = { text: 'quicmesh', numbers: [1, 2.5, -3], bytes: randomBytes(256) };
  const reply = await peer.request({ type: 'request', method: 'echo', body }, LIMITS);
  const { text, numbers, bytes } = reply.body as typeof body;
  expect(
    text === body.text && isDeepStrictEqual(numbers, body.numbers) && body.bytes.equals(bytes),
    'another body came back',
  );
}

async function mustFail({ peer }: Caller): Promise<void> {
  try {
    await peer.request({ type: 'request', method: 'refuse' }, LIMITS);
  } catch (error) {
    if (error instanceof MeshError && error.code === 'Overloaded' && error.side === 'remote')
      return;
    throw error;
  }
  throw new Error('succeeded where it had to be refused');
}

async function upload({ peer }: Caller): Promise<void> {
  const { seed, totalBytes, sha256 } = await someBytes();
  const digest = peer.stream(
    { transferId: `up-${seed}`, name: 'upload', totalBytes },
    { ...LIMITS, body: pseudoRandomBytes(seed, totalBytes) },
  );
  expect((await hexOf(digest)) === sha256, 'the receiver computed another SHA-256');
}

async function download({ peer }: Caller): Promise<void> {
  const { seed, totalBytes, sha256 } = await someBytes();
  const bytes = peer.stream(
    { transferId: `down-${seed}`, name: 'download', totalBytes, metadata: { seed } },
    LIMITS,
  );
  expect((await sha256Of(bytes)) === sha256, 'the bytes received have another SHA-256');
}

const ENTRY_BYTES = 128;

function nextEntries(log: Caller['log'], count: number): LogEntry[] {
  return Array.from({ length: count }, () => {
    log.index += 1;
    return { index: log.index, term: log.term, data: randomBytes(ENTRY_BYTES) };
  });
}

function raft(group: string, body: RaftBody): Consensus {
  return { type: 'consensus', group, body };
}

function append(
  leaderId: string,
  term: number,
  index: number,
  entries: readonly LogEntry[],
): RaftBody {
  return {
    kind: 'appendEntries',
    term,
    leaderId,
    prevLogIndex: index,
    prevLogTerm: term,
    entries,
    leaderCommit: index,
  };
}

async function someBytes(): Promise<{ seed: number; totalBytes: number; sha256: string }> {
  const seed = randomBytes(6).readUIntBE(0, 6);
  const totalBytes = 1 + (seed % MAX_TRANSFER_BYTES);
  return { seed, totalBytes, sha256: await sha256Of(pseudoRandomBytes(seed, totalBytes)) };
}

/** Everything that a stream of bytes yields, in hex. */
export async function hexOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all).toString('hex');
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
