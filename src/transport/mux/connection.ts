/**
 * A {@link Connection} over one byte stream in each direction: frames of all streams, told apart by message
 * id. SPEC.md, "Transports".
 *
 * It needs nothing of the bytes' carrier but that they arrive whole, in order and in a later turn than they are
 * written: a TLS socket, or a pair of streams within one process.
 */
import type { Duplex } from 'node:stream';
import type { ByteAccount } from '../../base/byte-budget.js';
import { isViolation, MeshError, type MeshErrorCode, toMeshError } from '../../errors.js';
import { decodeCredit, decodeGoAway, decodeReset, encodeReset } from '../../protocol/control.js';
import {
  CHECKSUM_BYTES,
  Compression,
  type Frame,
  FrameDecoder,
  FrameFlag,
  HEADER_BYTES,
} from '../../protocol/frame.js';
import {
  type AgreedLimits,
  type Connection,
  type ConnectionState,
  DEFAULT_STREAM_LIMITS,
  type FrameStream,
  type FrameStreamHandler,
  MAX_PRE_HANDSHAKE_BYTES,
  nextConnectionState,
  type PeerIdentity,
  type Role,
  type SocketAddress,
  type StreamLimits,
  type StreamOptions,
  type TransportName,
} from '../connection.js';
import type { FrameMemory } from '../frame-memory.js';
import { type ReadingShare, ReadingTurns, readerOf } from '../reading-turns.js';
import type { StreamRateGuard } from '../stream-rate.js';
import { certificateAlert } from '../trust/tls-errors.js';
import { FrameWriter } from './frame-writer.js';
import { lingerClose } from './linger.js';
import { type MuxCounters, type MuxLink, MuxStreams } from './streams.js';
import { WriteMemory } from './write-memory.js';

/** What a {@link MuxConnection} is besides its bytes. */
export interface MuxOptions {
  readonly transport: TransportName;
  readonly role: Role;
  readonly peerIdentity: PeerIdentity;
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly limits?: Partial<StreamLimits> | undefined;
  /** Called once, when limits are agreed: the handshake is done. */
  readonly onAgreed?: (() => void) | undefined;
  /** Memory for outgoing frames that connections share. Default: the connection's own, which is used once. */
  readonly writeMemory?: WriteMemory | undefined;
  /** What the peer's connections share. Default: the connection's own. */
  readonly rates?: StreamRateGuard | undefined;
  /** Where large frames that arrive may get their memory. Default: new memory for each. */
  readonly frameMemory?: FrameMemory | undefined;
  /** Shares the event loop with other connections. Default: the connection's own. */
  readonly turns?: ReadingTurns | undefined;
}

/** How a byte stream ended. */
interface Loss {
  readonly message: string;
  readonly cause: unknown;
}

/**
 * A connection over one ordered byte stream in each direction, such as a TLS socket. The frames of all its streams
 * share it, told apart by message id. SPEC.md, "Transports".
 */
export class MuxConnection implements Connection {
  readonly transport: TransportName;
  readonly role: Role;
  readonly peerIdentity: PeerIdentity;
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly rttMs = undefined;
  readonly counters: MuxCounters = {
    framesSent: 0,
    framesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    streamsOpened: 0,
    streamsAccepted: 0,
    streamsReset: 0,
    lateFrames: 0,
  };
  readonly opened = Promise.resolve(true);
  readonly closed: Promise<MeshError>;
  lastReceivedMs = performance.now();
  onGoAway: (() => void) | undefined;
  readonly #whenClosed: Promise<void>;
  readonly #duplex: Duplex;
  readonly #decoder: FrameDecoder;
  readonly #writer: FrameWriter;
  readonly #streams: MuxStreams;
  readonly #share: ReadingShare;
  /** Its peer has had its share of this turn: what has arrived is read in a later one. */
  #isWaiting = false;
  /** How the byte stream ended meanwhile. */
  #loss: Loss | undefined;
  /** The byte stream is closed, and its connection is not yet. */
  #finish: (() => void) | undefined;
  #onAgreed: (() => void) | undefined;
  #state: ConnectionState = { kind: 'open' };

  /** @param duplex secured and open; the connection's from here on */
  constructor(duplex: Duplex, options: MuxOptions) {
    const { counters } = this;
    const { role } = options;
    const limits = { ...DEFAULT_STREAM_LIMITS, ...options.limits };
    this.transport = options.transport;
    this.role = role;
    this.peerIdentity = options.peerIdentity;
    this.localAddress = options.localAddress;
    this.remoteAddress = options.remoteAddress;
    this.#duplex = duplex;
    this.#decoder = new FrameDecoder({
      maxPayloadBytes: limits.maxMessageBytes,
      compressions: [Compression.none],
      memory: options.frameMemory,
    });
    this.#onAgreed = options.onAgreed;
    const memory = options.writeMemory ?? new WriteMemory(false);
    const writer = new FrameWriter(duplex, counters, () => this.#flush(), memory);
    this.#writer = writer;
    const { rates } = options;
    const link = this.#createLink();
    this.#streams = new MuxStreams({ link, role, limits, writer, counters, rates });
    this.#share = (options.turns ?? new ReadingTurns()).join(readerOf(options.peerIdentity));
    this.closed = this.#attach();
    this.#whenClosed = this.closed.then(() => this.#share.leave());
    this.#streams.sendOpeningCredit();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get openStreams(): number {
    return this.#streams.ownStreams;
  }

  get onStream(): Connection['onStream'] {
    return this.#streams.onStream;
  }

  set onStream(onStream: Connection['onStream']) {
    this.#streams.onStream = onStream;
  }

  get hasStreamRoom(): boolean {
    return this.#streams.hasStreamRoom;
  }

  openStream(handler: FrameStreamHandler, options?: StreamOptions): FrameStream {
    if (!this.#isOpen) throw new MeshError('ConnectionClosed', 'connection is closed');
    return this.#streams.open(handler, options);
  }

  goAway(): void {
    if (this.#isOpen) this.#streams.goAway.begin();
  }

  get isGoingAway(): boolean {
    return this.#streams.isGoingAway;
  }

  get drained(): Promise<void> {
    return this.#isOpen ? this.#streams.goAway.drained : Promise.resolve();
  }

  get account(): ByteAccount | undefined {
    return this.#streams.account;
  }

  set account(account: ByteAccount | undefined) {
    this.#streams.account = account;
  }

  expectHandshake(): void {
    this.#decoder.maxPayloadBytes = Math.min(
      this.#decoder.maxPayloadBytes,
      MAX_PRE_HANDSHAKE_BYTES,
    );
    this.#streams.expectHandshake();
  }

  /** Whether the peer's handshake is under way. */
  get isHandshaking(): boolean {
    return this.#streams.isHandshaking;
  }

  applyLimits(limits: AgreedLimits): void {
    this.#onAgreed?.();
    this.#onAgreed = undefined;
    this.#decoder.maxPayloadBytes = limits.maxMessageBytes;
    this.#decoder.requireChecksum = limits.checksum;
    this.#decoder.compressions = limits.compressions;
    this.#streams.applyLimits(limits);
  }

  close(code: MeshErrorCode = 'NoError', reason = ''): Promise<void> {
    const error = new MeshError(code, reason === '' ? 'connection closed' : reason);
    const streamError = new MeshError('ConnectionClosed', 'connection closed by this side');
    this.#shutDown(error, streamError, reason);
    return this.#whenClosed;
  }

  /** The byte stream goes soon, whether the peer hears or not: see {@link lingerClose}. */
  fail(error: MeshError): void {
    this.#shutDown(error, error, error.message);
  }

  get #isOpen(): boolean {
    return this.#state.kind === 'open';
  }

  /** Takes the byte stream's events. @returns what {@link closed} is */
  #attach(): Promise<MeshError> {
    this.#duplex.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.#duplex.on('error', (cause) => this.#lose('connection failed', cause));
    this.#duplex.on('end', () => this.#lose('peer ended the connection without a word'));
    return new Promise((resolve) => {
      this.#duplex.on('close', () => {
        this.#lose('connection ended without a word');
        this.#finish = () => {
          const { error } = this.#state as Extract<ConnectionState, { kind: 'closing' }>;
          this.#moveTo({ kind: 'closed', error });
          resolve(error);
        };
        if (!this.#isWaiting) this.#finish();
      });
    });
  }

  #createLink(): MuxLink {
    return {
      isOpen: () => this.#isOpen,
      sendControl: (control, messageId, payload) => {
        if (!this.#isOpen) return;
        try {
          this.#writer.writeControl(control, messageId, payload);
        } catch (error) {
          this.#caught(error);
        }
      },
    };
  }

  /** The hot path: bytes in, handlers called. Never throws. */
  #receive(chunk: Buffer): void {
    this.lastReceivedMs = performance.now();
    // While closing, bytes are read so that the peer can finish, and mean nothing any more.
    if (!this.#isOpen) return;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.#caught(error);
      return;
    }
    if (!this.#isWaiting) this.#readFrames(this.lastReceivedMs);
  }

  /** Reads what has arrived, for as long as the peer's share of this turn lasts. */
  #readFrames(startMs: number): void {
    this.#streams.nowMs = startMs;
    const untilMs = this.#share.untilMs(startMs);
    let nowMs = startMs;
    try {
      while (nowMs < untilMs) {
        const frame = this.#decoder.next();
        if (frame === undefined) break;
        this.#count(frame);
        if (frame.messageId === 0) this.#handleOwnFrame(frame);
        else this.#streams.receive(frame);
        if (!this.#isOpen) return;
        nowMs = performance.now();
      }
      // What is missing of a large frame is then copied to where it will lie, as it comes.
      this.#decoder.room();
      this.#streams.keepPartial(this.#decoder.bufferedBytes);
    } catch (error) {
      this.#caught(error);
      return;
    }
    this.#share.spend(nowMs - startMs);
    if (nowMs >= untilMs) this.#waitForTurn();
  }

  /** Meanwhile the peer is held up by the byte stream itself. */
  #waitForTurn(): void {
    this.#isWaiting = true;
    this.#duplex.pause();
    this.#share.wait(this.#readLater);
  }

  readonly #readLater = (): void => {
    this.#isWaiting = false;
    if (this.#isOpen) this.#readFrames(performance.now());
    if (this.#isWaiting) return;
    if (this.#loss !== undefined) this.#lose(this.#loss.message, this.#loss.cause);
    else if (this.#isOpen) this.#duplex.resume();
    this.#finish?.();
  };

  #flush(): void {
    try {
      this.#streams.flush();
    } catch (error) {
      this.#caught(error);
    }
  }

  /** A frame of the connection itself. */
  #handleOwnFrame(frame: Frame): void {
    if ((frame.flags & FrameFlag.credit) !== 0) this.#streams.grant(decodeCredit(frame.payload));
    else if ((frame.flags & FrameFlag.reset) !== 0) this.#handleClose(frame);
    else this.#handleGoAway(frame);
  }

  #handleGoAway(frame: Frame): void {
    const streams = decodeGoAway(frame.payload);
    if (streams === undefined) {
      this.#streams.goAway.receiveAllOver();
      return;
    }
    this.#streams.goAway.receiveAnnouncement(streams);
    this.onGoAway?.();
  }

  #handleClose(frame: Frame): void {
    const { code, reason } = decodeReset(frame.payload, 'ConnectionClosed');
    const text = reason === '' ? 'connection closed by the peer' : reason;
    const error = new MeshError(code, text, { side: 'remote' });
    const streamError =
      code === 'NoError' ? new MeshError('ConnectionClosed', text, { side: 'remote' }) : error;
    this.#shutDown(error, streamError);
  }

  #count(frame: Frame): void {
    const checksumBytes = (frame.flags & FrameFlag.checksum) === 0 ? 0 : CHECKSUM_BYTES;
    this.counters.framesReceived += 1;
    this.counters.bytesReceived += HEADER_BYTES + frame.payload.length + checksumBytes;
  }

  /** Closes over a peer's violation, or over a handler that threw. */
  #caught(thrown: unknown): void {
    const error = toMeshError(thrown);
    if (isViolation(error.code)) {
      this.fail(error);
      return;
    }
    // A handler's error is its own side's business: the text does not travel.
    const internal = new MeshError('InternalError', error.message, { cause: thrown });
    this.#shutDown(internal, internal, 'internal error');
  }

  /**
   * The bytes have ended, and no frame has said why. A pause does not hold up the end: where frames wait for the peer's turn, they
   * are read first. There may be answers among them, and the peer's reason.
   */
  #lose(message: string, cause?: unknown): void {
    if (!this.#isOpen) return;
    if (this.#isWaiting) {
      this.#loss ??= { message, cause };
      return;
    }
    const error = certificateAlert(cause) ?? new MeshError('ConnectionLost', message, { cause });
    this.#moveTo({ kind: 'closing', error });
    this.#duplex.destroy();
    this.#streams.end(error);
  }

  /** @param farewell the reason to tell the peer; without, the peer knows */
  #shutDown(error: MeshError, streamError: MeshError, farewell?: string): void {
    if (!this.#isOpen) return;
    if (farewell !== undefined) {
      const payload = encodeReset({ code: error.code, reason: farewell });
      this.#writer.write({ control: FrameFlag.reset, messageId: 0, payload, checksum: true });
    }
    this.#moveTo({ kind: 'closing', error });
    this.#writer.flush();
    lingerClose(this.#duplex);
    this.#streams.end(streamError);
  }

  #moveTo(to: ConnectionState): void {
    this.#state = nextConnectionState(this.#state, to) ?? this.#state;
  }
}
