/**
 * Guards against what an authenticated peer can do with the known holes of quiche 0.18.0, for one connection. They see
 * totals only, and cost additions and comparisons as long as a peer is honest. SECURITY.md.
 */
import type { ByteAccount } from '../../../base/byte-budget.js';
import { MeshError } from '../../../errors.js';
import { MAX_PRE_HANDSHAKE_BYTES } from '../../connection.js';
import type { NativeConnection } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import { makeProofNonce } from '../streams/control-stream.js';
import type { QuicStreams } from '../streams/streams.js';
import { InputBudget, type InputWitness } from './input-budget.js';
import { ReceiptProof } from './receipt-proof.js';

/** What {@link PeerGuards} is given. */
export interface PeerGuardsOptions {
  readonly native: NativeConnection;
  readonly streams: QuicStreams;
  readonly counters: EndpointCounters;
  /** As much as may wait for readers, on all streams. */
  readonly maxWaitingBytes: number;
  /** Ends the connection and forgets it at once: what the peer filled it with is kept until then. */
  readonly end: (error: MeshError) => void;
}

/** Bytes sent in one go. The rest waits until other connections had their turn. */
const MAX_FLUSH_BYTES = 8 * 1024 * 1024;
/** The same where bulk data goes beside other calls: these wait until it has left. */
const MAX_SHARED_FLUSH_BYTES = 256 * 1024;

const PRE_HANDSHAKE_TEXT = `over ${MAX_PRE_HANDSHAKE_BYTES} bytes came before the handshake`;

/** Beyond this share of what may wait, slow streams are given up, well before the connection would be. */
const WAITING_FRACTION = 3 / 4;

/**
 * Guards one connection against what an authenticated peer can do with the known holes of quiche 0.18.0. They see
 * totals only. SECURITY.md.
 */
export class PeerGuards {
  /** Bytes of datagrams sent so far. */
  sentBytes = 0;
  #account: ByteAccount | undefined;
  /** What was taken from the account. */
  #heldBytes = 0;
  /** What had arrived and was not read when that was last looked at, and what had been read by then. */
  #owed = { bytes: 0, read: 0 };
  readonly #options: PeerGuardsOptions;
  readonly #budget: InputBudget;
  readonly #witness: InputWitness;
  readonly #proof = new ReceiptProof();

  constructor(options: PeerGuardsOptions) {
    const { native, streams, maxWaitingBytes } = options;
    this.#options = options;
    this.#budget = new InputBudget(maxWaitingBytes);
    this.#witness = {
      authenticBytes: () => native.stats().recvBytes,
      unreadBytes: () => (streams.reader.isHeldBack ? maxWaitingBytes : 0),
    };
  }

  /** The binding is done with a datagram that it was given at this time. */
  binding(sinceMs: number): void {
    if (this.#budget.isStrained) this.#budget.took(performance.now() - sinceMs);
  }

  /** A datagram was received, and all that it brought was read. */
  received(bytes: number, nowMs: number): void {
    if (!this.#budget.count(bytes)) return;
    const { counters, end, maxWaitingBytes } = this.#options;
    const { reader } = this.#options.streams;
    const totals = { read: reader.readBytes, sent: this.sentBytes };
    const excess = this.#budget.judge(totals, nowMs, this.#witness);
    if (excess !== undefined) {
      counters.closedForExcess += 1;
      end(new MeshError('ProtocolViolation', excess));
      return;
    }
    this.#owed = { bytes: this.#budget.owedBytes, read: totals.read };
    if (this.#options.streams.isHandshaking && this.#owed.bytes > MAX_PRE_HANDSHAKE_BYTES) {
      end(new MeshError('Overloaded', PRE_HANDSHAKE_TEXT));
      return;
    }
    if (this.#owed.bytes > maxWaitingBytes * WAITING_FRACTION) reader.relieve();
    this.settle();
    while (this.#account?.hasRoom === false && reader.giveUpSlowest()) this.settle();
  }

  get account(): ByteAccount | undefined {
    return this.#account;
  }

  set account(account: ByteAccount | undefined) {
    this.#account?.give(this.#heldBytes);
    this.#account = account;
    account?.take(this.#heldBytes);
  }

  /** Takes what the connection holds now from the account, or gives back what was read since. */
  settle(): void {
    const { reader } = this.#options.streams;
    const unread = Math.max(0, this.#owed.bytes - (reader.readBytes - this.#owed.read));
    const bytes = Math.ceil(unread) + reader.partialBytes;
    const change = bytes - this.#heldBytes;
    if (change === 0) return;
    this.#heldBytes = bytes;
    if (change > 0) this.#account?.take(change);
    else this.#account?.give(-change);
  }

  /** The connection is over: it holds nothing any more. */
  end(): void {
    this.account = undefined;
  }

  /** Bytes that may be sent in one go now. */
  get flushBytes(): number {
    return this.#options.streams.writer.isShared ? MAX_SHARED_FLUSH_BYTES : MAX_FLUSH_BYTES;
  }

  /** All was sent that could be: lets streams hand over what can go out next, as far as the peer has earned it. */
  flushed(): void {
    const { streams } = this.#options;
    const { handedBytes } = streams.writer;
    if (handedBytes >= this.#proof.dueAtBytes) this.#demandProof(handedBytes);
    streams.writer.handUpTo(Math.min(handedBytes + this.flushBytes, this.#proof.limitBytes));
  }

  proofArrived(nonce: Uint8Array): void {
    this.#proof.arrived(nonce, this.#options.streams.writer.handedBytes);
  }

  /** Much was sent: the peer is to show that it received it. */
  #demandProof(handedBytes: number): void {
    const { streams, counters, end } = this.#options;
    const step = this.#proof.next(handedBytes, performance.now(), makeProofNonce);
    if (step.kind === 'ask') streams.control.askForProof(step.nonce);
    if (step.kind !== 'overdue') return;
    counters.closedForFalseAcks += 1;
    end(new MeshError('ProtocolViolation', 'peer acknowledged what it did not receive'));
  }
}
