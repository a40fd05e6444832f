/** What a node holds for one peer, over all of the peer's connections. */
import { ByteBudget, ByteTotal } from '../../base/byte-budget.js';
import { JobTurns } from '../../base/job-turns.js';
import { HandlerSlots } from '../incoming/handler-slots.js';
import { MessageCopies } from '../outgoing/message-copies.js';
import { PeerReader } from '../reading/peer-reader.js';

/**
 * The purposes for which bytes are held. Each has budgets of its own, so that none can use up the room of another: a caller
 * that waits for answers can still answer, and what nobody reads does not keep calls out.
 */
export interface Budgets {
  /** Messages of calls that this side has made and that are not answered. */
  readonly send: ByteBudget;
  /** The same for calls that handlers make, which must not wait for other calls. See handling.ts. */
  readonly nested: ByteBudget;
  /** Bytes of transfers that wait to be sent, in both directions. */
  readonly chunks: ByteBudget;
  /** Messages of the peer that handlers work on, and answers that the transport has not sent. */
  readonly receive: ByteBudget;
  /** The same for calls that handlers of the peer make. */
  readonly nestedReceive: ByteBudget;
  /** Bytes of transfers that wait for their readers, and answers that wait to be decoded. */
  readonly unread: ByteBudget;
  /** What the transport holds: parts of messages that are not whole, and what it cannot hand on. */
  readonly held: ByteBudget;
}

/** The limits, in bytes, that hold for each of the {@link Budgets} alike. */
export interface BudgetLimits {
  readonly connectionBytes: number;
  readonly peerBytes: number;
  readonly nodeBytes: number;
  /** The largest message: while others wait in parts, one is read on. Default 0. */
  readonly messageBytes?: number | undefined;
}

/** What a node holds in all: the accounts of its peers count against it. */
export class NodeAccount {
  readonly budgets: Budgets;
  /** Copies of messages whose calls wait. */
  readonly copies: MessageCopies;

  /** Jobs of the node in the process's thread pool. */
  readonly jobs = new JobTurns(poolThreads());

  constructor({ nodeBytes }: Pick<BudgetLimits, 'nodeBytes'>) {
    this.budgets = budgets(nodeBytes);
    this.copies = new MessageCopies(nodeBytes);
  }
}

/** The limits of one peer. */
export interface PeerLimits extends Omit<BudgetLimits, 'nodeBytes'> {
  /** Calls that are handled at once, of each kind. */
  readonly callsPerPeer: number;
}

/** One peer's account: what its connections hold together, and how many of its calls run. */
export class PeerAccount {
  readonly slots: HandlerSlots;
  /** Decodes the peer's messages. */
  readonly reader: PeerReader;
  /** Copies of messages to the peer whose calls wait. */
  readonly copies: MessageCopies;
  readonly #budgets: Budgets;
  readonly #connectionBytes: number;
  readonly #messageBytes: number;

  constructor(node: NodeAccount, limits: PeerLimits) {
    this.slots = new HandlerSlots(limits.callsPerPeer);
    this.copies = new MessageCopies(limits.peerBytes, node.copies);
    this.#budgets = peerBudgets(limits.peerBytes, node.budgets);
    this.reader = new PeerReader(node.jobs, this.#budgets.unread);
    this.#connectionBytes = limits.connectionBytes;
    this.#messageBytes = limits.messageBytes ?? 0;
  }

  /** Bytes that are held for the peer now, for all purposes. */
  get usedBytes(): number {
    return Object.values(this.#budgets).reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  }

  /** The budgets of another connection of the peer. */
  connectionBudgets(): Budgets {
    const heldBytes = HELD_WINDOWS * this.#connectionBytes + this.#messageBytes;
    const held = new ByteBudget(heldBytes, this.#budgets.held);
    return { ...budgets(this.#connectionBytes, this.#budgets), held };
  }
}

/**
 * What the peer makes this node hold is a share for each purpose, and so many in all: a peer that uses up one is no worse than
 * before for its other calls, and one that uses up all does not get all of them.
 */
const SHARES_IN_ALL = 2;

function peerBudgets(peerBytes: number, node: Budgets): Budgets {
  const total = new ByteTotal(SHARES_IN_ALL * peerBytes);
  const of = (parent: ByteBudget) => new ByteBudget(peerBytes, parent, total);
  return {
    ...budgets(peerBytes, node),
    receive: of(node.receive),
    nestedReceive: of(node.nestedReceive),
    unread: of(node.unread),
    held: of(node.held),
  };
}

/**
 * A transport keeps a window of parts, and the binding of QUIC another one that was not read yet. The message that is read on
 * while others wait comes on top.
 */
const HELD_WINDOWS = 2;

function budgets(limitBytes: number, parents?: Budgets): Budgets {
  const of = (parent: ByteBudget | undefined) => new ByteBudget(limitBytes, parent);
  return {
    send: of(parents?.send),
    nested: of(parents?.nested),
    chunks: of(parents?.chunks),
    receive: of(parents?.receive),
    nestedReceive: of(parents?.nestedReceive),
    unread: of(parents?.unread),
    held: of(parents?.held),
  };
}

/** All threads of libuv's pool but one, which is left to the rest of the process. */
function poolThreads(): number {
  const threads = Number(process.env.UV_THREADPOOL_SIZE ?? DEFAULT_POOL_THREADS);
  return Number.isSafeInteger(threads) && threads > 1 ? threads - 1 : 1;
}

const DEFAULT_POOL_THREADS = 4;
