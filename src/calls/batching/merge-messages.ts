/** Messages that extend a log: which ones continue each other, and several as one. Pure. */

import { isBytes } from '../../base/realms.js';
import type { Consensus, LogEntry, ReplicationLog } from '../../protocol/message.js';

/** Of these, `replicationLog` and `appendEntries` can be merged. */
export type LogMessage = ReplicationLog | Consensus;

/** What a message says of the log that it extends, whichever kind it is. */
interface Append {
  /** Only messages that have this in common go together. */
  readonly context: readonly unknown[];
  /** Behind which entry it goes. */
  readonly prev: Position;
  /** Its last entry, or `prev` where it has none. */
  readonly end: Position;
}

interface Position {
  readonly index: number;
  /** `undefined` where the kind of message does not tell. */
  readonly term: number | undefined;
}

/** Whether others may go along with the message: it extends a log, and its sender wants an answer. */
export function isMergeable(message: LogMessage): boolean {
  return appendOf(message) !== undefined;
}

/**
 * Whether `next` extends the same log right where `last` has left it, in the same term and for the same leader: the two
 * say as one message what they say one after the other.
 */
export function continues(last: LogMessage, next: LogMessage): boolean {
  const before = appendOf(last);
  const after = appendOf(next);
  if (before === undefined || after === undefined) return false;
  return (
    before.context.every((value, i) => value === after.context[i]) &&
    before.end.index === after.prev.index &&
    before.end.term === after.prev.term
  );
}

/**
 * Messages of which each {@link continues} the one before, as one: all their entries in order, and what the last one says
 * is committed. There is at least one.
 */
export function mergeMessages(messages: readonly LogMessage[]): LogMessage {
  const [first] = messages as readonly [LogMessage];
  if (messages.length === 1) return first;
  const last = messages.at(-1) as LogMessage;
  const entries = messages.flatMap((message) => entriesOf(message));
  if (first.type === 'replicationLog' && last.type === 'replicationLog') {
    return { ...first, commitIndex: last.commitIndex, entries };
  }
  const { body } = first as Consensus;
  const { body: lastBody } = last as Consensus;
  if (body.kind !== 'appendEntries' || lastBody.kind !== 'appendEntries') return first;
  const { leaderCommit } = lastBody;
  return { ...(first as Consensus), body: { ...body, leaderCommit, entries } };
}

/** The same message in memory of its own. Of one that others may go along with. */
export function ownMessage(message: LogMessage): LogMessage {
  if (message.type === 'replicationLog') {
    return { ...message, entries: message.entries.map(ownEntry) };
  }
  const { body } = message;
  if (body.kind !== 'appendEntries') return message;
  return { ...message, body: { ...body, entries: body.entries.map(ownEntry) } };
}

function ownEntry(entry: LogEntry): LogEntry {
  return isBytes(entry.data) ? { ...entry, data: Buffer.from(entry.data) } : entry;
}

/** The entries that a message carries; none for other kinds. */
export function entriesOf(message: LogMessage): readonly LogEntry[] {
  if (message.type === 'replicationLog') return message.entries;
  return message.body.kind === 'appendEntries' ? message.body.entries : [];
}

/** Bytes of a message besides its entries, and of an entry besides its data: about, and rather more than less. */
const HEAD_BYTES = 128;
const ENTRY_BYTES = 40;

/** About how large the message is when it is encoded. */
export function messageBytes(message: LogMessage): number {
  let bytes = HEAD_BYTES;
  if (message.type === 'consensus' && message.body.kind === 'installSnapshot') {
    bytes += message.body.data.length;
  }
  for (const { data } of entriesOf(message)) bytes += ENTRY_BYTES + data.length;
  return bytes;
}

function appendOf(message: LogMessage): Append | undefined {
  const { type, group, oneWay, replaySafe } = message;
  if (oneWay === true) return undefined;
  if (message.type === 'replicationLog') {
    const { term, prevIndex, entries } = message;
    const end = { index: entries.at(-1)?.index ?? prevIndex, term: undefined };
    return {
      context: [type, group, replaySafe, term],
      prev: { index: prevIndex, term: undefined },
      end,
    };
  }
  const { body } = message;
  if (body.kind !== 'appendEntries') return undefined;
  const { term, leaderId, prevLogIndex, prevLogTerm, entries } = body;
  const prev = { index: prevLogIndex, term: prevLogTerm };
  return {
    context: [type, group, replaySafe, term, leaderId],
    prev,
    end: entries.at(-1) ?? prev,
  };
}
