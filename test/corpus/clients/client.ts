/** A peer that gets as far as its certificate takes it, sends what it likes, and notes what comes back. */
import { randomBytes } from 'node:crypto';
import type { MeshErrorCode } from '../../../src/errors.js';
import { MessageCodec } from '../../../src/protocol/codec.js';
import { decodeReset } from '../../../src/protocol/control.js';
import { type Frame, FrameFlag } from '../../../src/protocol/frame.js';
import type { HandshakeRequest, Message } from '../../../src/protocol/message.js';
import type { SocketAddress, TlsMaterial } from '../../../src/transport/connection.js';
import type { TestTransport } from '../../helpers/nodes.js';
import { END, frameOf, PLAIN } from '../bytes.js';
import type { Place, RequestChanges } from '../case.js';
import { until } from '../wait.js';

/** What is wrong below the frames. */
export interface TlsChanges {
  readonly alpn?: string;
  /** TCP only. */
  readonly maxVersion?: 'TLSv1.2';
  /** A session that was kept: of node:tls, or of the QUIC binding. */
  readonly session?: Buffer;
}

export interface ClientOptions {
  readonly target: SocketAddress;
  /** `cert` may be empty: then none is shown. */
  readonly tls: TlsMaterial;
  readonly changes?: TlsChanges | undefined;
  /** The node's. Default: that of tests. */
  readonly cluster?: string | undefined;
  /** The address of loopback that it dials from. Default `127.0.0.1`. */
  readonly from?: string | undefined;
}

/** What the node may send: more than it may send here, so that it is not the client that refuses. */
export const ANY_FRAME = { maxPayloadBytes: 32 * 1024 * 1024, requireChecksum: false };

/** How the node ended the connection; `lost` where it did so without a word. */
export type Ending = MeshErrorCode | 'lost';

const codec = new MessageCodec();

const CAPABILITIES: HandshakeRequest['capabilities'] = {
  query: true,
  replication: true,
  consensus: true,
  dataTransfer: true,
  maxStreams: 1024,
  maxMessageBytes: 16 * 1024 * 1024,
  compressions: ['lz4', 'zstd'],
  checksum: true,
};

export abstract class HostileClient {
  abstract readonly transport: TestTransport;
  /** The node's messages, by message id. */
  readonly answers = new Map<number, Message[]>();
  /** Streams that the node has reset. */
  readonly resets = new Map<number, MeshErrorCode>();
  /** Payloads of the node's frames of going away. */
  readonly farewells: Uint8Array[] = [];
  ending: Ending | undefined;
  /** It was this side that ended the connection. */
  hasHungUp = false;
  /** The highest message id of its own that it has used. */
  #lastId = -1;
  #isGone = false;

  send(to: Place, bytes: Uint8Array, fin = false): void {
    if (typeof to === 'number' && to % 2 === 1) this.#lastId = Math.max(this.#lastId, to);
    this.write(to, bytes, fin);
  }

  protected abstract write(to: Place, bytes: Uint8Array, fin: boolean): void;

  /** QUIC only. */
  abstract shut(on: number, side: 'sending' | 'receiving', code: number): void;

  /** Takes nothing more of what the node sends. TCP and QUIC streams only. */
  stopReading(): void {
    throw new Error('nothing is read here');
  }

  /** What it was given to send, and could not send yet. */
  get unsentBytes(): number {
    return 0;
  }

  /** Ends the connection, so that the node knows at once. */
  hangUp(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.hasHungUp = this.ending === undefined;
    this.ending ??= 'lost';
    this.leave();
  }

  /** Lets go of its socket. Called once. */
  protected abstract leave(): void;

  /** A session that the node gave, for another connection to resume. */
  abstract session(): Promise<Buffer>;

  get isOver(): boolean {
    return this.ending !== undefined;
  }

  /** What the node has answered to calls of this side. */
  get ownAnswers(): string {
    return JSON.stringify([...this.answers].filter(([id]) => id % 2 === 1));
  }

  /** The next message id of its own that was not used. */
  get nextId(): number {
    return this.#lastId + 2;
  }

  /** Sends a request for a handshake: a good one, but for the changes. */
  shake(nodeId: string, changes: RequestChanges = {}, capabilities = {}): void {
    const { timestampOffsetMs = 0, withoutEnd = false, ...fields } = changes;
    const request = {
      type: 'handshakeRequest',
      versions: [1],
      nodeId,
      cluster: 'test',
      capabilities: { ...CAPABILITIES, ...capabilities },
      timestampMs: Date.now() + timestampOffsetMs,
      nonce: randomBytes(16),
      ...fields,
    };
    this.send(1, frameOf(1, request, withoutEnd ? PLAIN : END), !withoutEnd);
  }

  /** Whether the node answers on this connection. */
  async ping(): Promise<void> {
    const id = this.nextId;
    this.send(id, frameOf(id, { type: 'ping' }), true);
    await until(() => this.answers.has(id) || this.isOver);
    const [answer] = this.answers.get(id) ?? [];
    if (answer?.type !== 'pong') {
      throw new Error(`no pong but ${answer?.type ?? `an end with ${this.ending}`}`);
    }
    this.answers.delete(id);
  }

  protected hear(frame: Frame): void {
    const { flags, messageId, payload } = frame;
    if ((flags & FrameFlag.credit) !== 0) return;
    if ((flags & FrameFlag.reset) !== 0) {
      const { code } = decodeReset(payload, messageId === 0 ? 'ConnectionClosed' : 'StreamReset');
      if (messageId === 0) this.ending ??= code;
      else this.resets.set(messageId, code);
    } else if (messageId === 0) {
      this.farewells.push(payload);
    } else if (payload.length > 0 && frame.compression === 0) {
      const heard = this.answers.get(messageId) ?? [];
      heard.push(codec.decode(payload));
      this.answers.set(messageId, heard);
    }
  }
}
