import test from 'ava';
import fc from 'fast-check';
import {
  continues,
  entriesOf,
  isMergeable,
  type LogMessage,
  mergeMessages,
  messageBytes,
} from '../../../src/calls/batching/merge-messages.js';
import { MessageCodec } from '../../../src/protocol/codec.js';
import type { Consensus, LogEntry, ReplicationLog } from '../../../src/protocol/message.js';
import { holds } from '../../protocol/properties.js';

/** A log cut into messages, each of which goes on where the one before ends. */
interface CutLog {
  readonly entries: readonly LogEntry[];
  readonly messages: readonly LogMessage[];
}

const cutLogs: fc.Arbitrary<CutLog> = fc
  .record({
    isRaft: fc.boolean(),
    group: fc.option(fc.constantFrom('g1', 'g2'), { nil: undefined }),
    first: fc.nat(1000),
    pieces: fc.array(
      fc.array(fc.record({ termStep: fc.nat(1), data: fc.uint8Array({ maxLength: 20 }) }), {
        maxLength: 4,
      }),
      { minLength: 1, maxLength: 8 },
    ),
  })
  .map(({ isRaft, group, first, pieces }) => {
    let index = first;
    let term = 1;
    const entries: LogEntry[] = [];
    const messages = pieces.map((piece, i): LogMessage => {
      const prev = { index, term };
      const own = piece.map(({ termStep, data }) => {
        index += 1;
        term += termStep;
        return { index, term, data: Buffer.from(data) };
      });
      entries.push(...own);
      const head = group === undefined ? {} : { group };
      if (!isRaft) {
        const position = { term: 9, prevIndex: prev.index, commitIndex: i };
        return { type: 'replicationLog', ...head, ...position, entries: own };
      }
      const body = {
        kind: 'appendEntries',
        term: 9,
        leaderId: 'n1',
        prevLogIndex: prev.index,
        prevLogTerm: prev.term,
        entries: own,
        leaderCommit: i,
      } as const;
      return { type: 'consensus', ...head, body };
    });
    return { entries, messages };
  });

test('pieces of a log continue each other, and as one they are the log, behind what the first one says', (t) => {
  holds(
    t,
    fc.property(cutLogs, ({ entries, messages }) => {
      for (const [i, message] of messages.entries()) {
        const before = messages[i - 1];
        t.true(isMergeable(message));
        if (before !== undefined) t.true(continues(before, message));
      }
      const merged = mergeMessages(messages);
      t.deepEqual(entriesOf(merged), entries);
      const last = messages.length - 1;
      t.deepEqual(headOf(merged), { ...headOf(messages[0] as LogMessage), commit: last });
      const codec = new MessageCodec();
      t.deepEqual(codec.decode(codec.encode(merged)), merged);
      return true;
    }),
  );
});

test('it is the same whether they are merged at once or bit by bit, and what follows continues it', (t) => {
  holds(
    t,
    fc.property(cutLogs, fc.nat(), ({ messages }, at) => {
      const cut = 1 + (at % messages.length);
      const front = mergeMessages(messages.slice(0, cut));
      const rest = messages.slice(cut);
      if (rest.length > 0) t.true(continues(front, rest[0] as LogMessage));
      t.deepEqual(mergeMessages([front, ...rest]), mergeMessages(messages));
      return true;
    }),
  );
});

const log: ReplicationLog = {
  type: 'replicationLog',
  group: 'g1',
  term: 3,
  prevIndex: 6,
  commitIndex: 5,
  entries: [{ index: 7, term: 3, data: Buffer.of(1) }],
};
const nextLog: ReplicationLog = { ...log, prevIndex: 7, entries: [] };
const append = {
  kind: 'appendEntries',
  term: 3,
  leaderId: 'n1',
  prevLogIndex: 6,
  prevLogTerm: 2,
  entries: [{ index: 7, term: 3, data: Buffer.of(1) }],
  leaderCommit: 5,
} as const;
const raft: Consensus = { type: 'consensus', group: 'g1', body: append };
const nextBody = { ...append, prevLogIndex: 7, prevLogTerm: 3, entries: [] } as const;
const nextRaft: Consensus = { ...raft, body: nextBody };
const vote: Consensus = {
  type: 'consensus',
  body: { kind: 'requestVote', term: 3, candidateId: 'n1', lastLogIndex: 7, lastLogTerm: 3 },
};

const STRANGERS: Readonly<Record<string, readonly [LogMessage, LogMessage]>> = {
  'of another group': [log, { ...nextLog, group: 'g2' }],
  'of no group': [raft, { type: 'consensus', body: nextBody }],
  'of another term': [log, { ...nextLog, term: 4 }],
  'of another kind': [log, nextRaft],
  'behind a gap': [log, { ...nextLog, prevIndex: 8 }],
  'sent again': [log, log],
  'without an answer': [log, { ...nextLog, oneWay: true }],
  'of another leader': [raft, { ...raft, body: { ...nextBody, leaderId: 'n2' } }],
  'of another term of Raft': [raft, { ...raft, body: { ...nextBody, term: 4 } }],
  'behind another entry': [raft, { ...raft, body: { ...nextBody, prevLogTerm: 2 } }],
  'no log': [raft, vote],
  'behind no log': [vote, raft],
};

test('what continues another does', (t) => {
  t.true(continues(log, nextLog));
  t.true(continues(raft, nextRaft));
});

for (const [named, [last, next]] of Object.entries(STRANGERS)) {
  test(`a message ${named} continues none`, (t) => t.false(continues(last, next)));
}

test('the size is estimated, and rather too large', (t) => {
  const codec = new MessageCodec();
  const data = Buffer.alloc(1000);
  const entries = Array.from({ length: 20 }, (_, i) => ({
    index: 2 ** 40 + i,
    term: 2 ** 33,
    data,
  }));
  for (const message of [{ ...log, entries }, { ...raft, body: { ...append, entries } }, vote]) {
    const { length } = codec.encode(message);
    t.true(messageBytes(message) >= length, `${messageBytes(message)} of ${length}`);
    t.true(messageBytes(message) <= length + 1000);
  }
});

function headOf(message: LogMessage): object {
  if (message.type === 'replicationLog') {
    const { entries: _, commitIndex: commit, ...rest } = message;
    return { ...rest, commit };
  }
  const { body, ...rest } = message;
  if (body.kind !== 'appendEntries') return rest;
  const { entries: _, leaderCommit: commit, ...bodyRest } = body;
  return { ...rest, ...bodyRest, commit };
}
