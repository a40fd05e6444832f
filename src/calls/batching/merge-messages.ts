/** Decides which log messages continue each other, and merges them into one. Pure. */

import { isBytes } from '../../base/realms.js';
import type { Consensus, LogEntry, ReplicationLog } from '../../protocol/message.js';

/** The messages that extend a log. Of these, `replicationLog` and `appendEntries` can be merged. */
export type LogMessage = ReplicationLog | Consensus;

/** What a message of either kind says of the log that it extends. */
interface Append {
  /** Only messages with the same value here can be merged. */
  readonly context: readonly unknown[];
  /** The entry that the message's entries follow. */
  readonly prev: Position;
  /** Its last entry, or `prev` where it has none. */
  readonly end: Position;
}

interface Position {
  readonly index: number;
  /** `undefined` where this kind of message does not say it. */
  readonly term: number | undefined;
}

/** Whether the message can be merged with others: it extends a log, and its sender wants an answer. */
export function isMergeable(message: LogMessage): boolean {
  return appendOf(message) !== undefined;
}

/**
 * Whether `next` extends the same log right where `last` ends, in the same term and for the same leader. Merged into one
 * message, the two then mean the same as one after the other.
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
 * Merges messages of which each {@link continues} the one before: all their entries in order, with the last one's commit
 * index. At least one message.
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

/** A copy of a message that can be merged, in memory of its own. */
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

/** Estimates, rather too high: the bytes of a message besides its entries, and of an entry besides its data. */
const HEAD_BYTES = 128;
const ENTRY_BYTES = 40;

/** An estimate of the message's encoded size, in bytes. */
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
