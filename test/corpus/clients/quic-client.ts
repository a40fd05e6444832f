/** A {@link HostileClient} over QUIC: a bare loop around the binding, with streams of its own choice. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { FrameDecoder } from '../../../src/protocol/frame.js';
import {
  DEFAULT_STREAM_LIMITS,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { errorOfClose } from '../../../src/transport/quic/binding/close-codes.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import {
  loadNative,
  type NativeConfig,
  type NativeConnection,
  type NativeQuic,
  readNativeFailure,
} from '../../../src/transport/quic/binding/native.js';
import { CONTROL_STREAM_ID } from '../../../src/transport/quic/streams/control-stream.js';
import { streamIdOf } from '../../../src/transport/quic/streams/stream.js';
import { devCerts } from '../../helpers/certs.js';
import { newKnock } from '../../helpers/quic/knocking.js';
import type { Place } from '../case.js';
import { until } from '../wait.js';
import { ANY_FRAME, type ClientOptions, HostileClient, type TlsChanges } from './client.js';

const MAX_DATAGRAM_BYTES = 65_535;

export class QuicClient extends HostileClient {
  readonly transport = 'quic';
  readonly #socket: Socket;
  readonly #native: NativeConnection;
  readonly #target: SocketAddress;
  readonly #decoders = new Map<number, FrameDecoder>();
  /** Bytes that QUIC had no room for yet, by stream. */
  readonly #unsent = new Map<number, { bytes: Buffer; fin: boolean }>();
  readonly #room = Buffer.alloc(MAX_DATAGRAM_BYTES);
  readonly #timer: NodeJS.Timeout;
  #isReading = true;

  /** Fulfils when TLS is done, or has failed. */
  static async dial({
    target,
    tls,
    changes = {},
    cluster,
    from = '127.0.0.1',
  }: ClientOptions): Promise<QuicClient> {
    const native = await loadNative();
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, from, resolve));
    const local = { host: from, port: socket.address().port };
    const config = configFor(native, tls, changes);
    // Whatever certificate it shows, it knows the CA of the node.
    const knock = newKnock(cluster === undefined ? await devCerts() : tls, cluster);
    const connection = native.Connection.connect(null, knock, local, target, config);
    if (changes.session !== undefined) connection.setSession(changes.session);
    const client = new QuicClient(socket, connection, local, target);
    await until(() => connection.isEstablished() || client.isOver);
    return client;
  }

  private constructor(
    socket: Socket,
    native: NativeConnection,
    local: SocketAddress,
    target: SocketAddress,
  ) {
    super();
    this.#socket = socket;
    this.#native = native;
    this.#target = target;
    socket.on('message', (datagram, from) => {
      try {
        native.recv(datagram, { from: { host: from.address, port: from.port }, to: local });
      } catch {
        // The connection has closed over it, which `ending` tells.
      }
      this.#turn();
    });
    this.#timer = setInterval(() => {
      native.onTimeout();
      this.#turn();
    }, 20);
    this.#turn();
  }

  protected write(to: Place, bytes: Uint8Array, fin: boolean): void {
    const id = streamOf(to);
    const before = this.#unsent.get(id);
    const all = before === undefined ? Buffer.from(bytes) : Buffer.concat([before.bytes, bytes]);
    this.#unsent.set(id, { bytes: all, fin });
    this.#turn();
  }

  shut(on: number, side: 'sending' | 'receiving', code: number): void {
    this.#native.streamShutdown(streamIdOf(on), side === 'sending' ? 1 : 0, code);
    this.#turn();
  }

  override stopReading(): void {
    this.#isReading = false;
  }

  override get unsentBytes(): number {
    return [...this.#unsent.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  protected leave(): void {
    clearInterval(this.#timer);
    this.#socket.removeAllListeners('message');
    try {
      this.#native.close(true, 0, Buffer.alloc(0));
    } catch {
      // It is closed already.
    }
    this.#flush();
    // What was sent last leaves before the socket closes.
    setTimeout(() => this.#socket.close(), 50);
  }

  async session(): Promise<Buffer> {
    await until(() => this.#native.session() !== null);
    return Buffer.from(this.#native.session() as Uint8Array);
  }

  #turn(): void {
    this.#pump();
    this.#flush();
    this.#read();
    this.#flush();
    if (this.ending === undefined && (this.#native.isDraining() || this.#native.isClosed())) {
      const close = this.#native.peerError();
      this.ending = close === null ? 'lost' : errorOfClose(close, 'remote', true).code;
    }
  }

  #pump(): void {
    if (!this.#native.isEstablished()) return;
    for (const [id, { bytes, fin }] of this.#unsent) {
      let took = 0;
      try {
        took = this.#native.streamSend(id, bytes, fin) ?? 0;
      } catch (thrown) {
        // Beyond the stream limit they wait; a stream that the node has stopped takes nothing more.
        if (readNativeFailure(thrown).name === 'StreamLimit') return;
        took = bytes.length;
      }
      if (took < bytes.length) this.#unsent.set(id, { bytes: bytes.subarray(took), fin });
      else this.#unsent.delete(id);
    }
  }

  #flush(): void {
    for (;;) {
      const sent = this.#native.send(this.#room);
      if (sent === null) return;
      const datagram = Buffer.from(this.#room.subarray(0, sent[0]));
      this.#socket.send(datagram, this.#target.port, this.#target.host);
    }
  }

  #read(): void {
    if (!this.#isReading || !this.#native.isEstablished()) return;
    for (const id of this.#native.readable()) {
      try {
        for (;;) {
          const read = this.#native.streamRecv(id, this.#room);
          if (read === null) break;
          this.#decode(id, Buffer.from(this.#room.subarray(0, read[0])));
          if (read[1]) break;
        }
      } catch {
        // The node has reset the stream, which its control stream tells.
      }
    }
  }

  #decode(id: number, bytes: Buffer): void {
    let decoder = this.#decoders.get(id);
    if (decoder === undefined) {
      decoder = new FrameDecoder(ANY_FRAME);
      this.#decoders.set(id, decoder);
    }
    decoder.push(bytes);
    for (;;) {
      let frame: ReturnType<FrameDecoder['next']>;
      try {
        frame = decoder.next();
      } catch {
        // The byte with which the node gives a stream up.
        return;
      }
      if (frame === undefined) return;
      // Proofs, which are owed to nobody here.
      if (id === CONTROL_STREAM_ID.acceptor && frame.messageId !== 0 && frame.payload.length === 16)
        continue;
      this.hear(frame);
    }
  }
}

function streamOf(to: Place): number {
  if (to === 'control') return CONTROL_STREAM_ID.dialer;
  return typeof to === 'number' ? streamIdOf(to) : to.quicStream;
}

/** Takes every certificate of the node's, and shows its own even where that is none. */
function configFor(native: NativeQuic, tls: TlsMaterial, changes: TlsChanges): NativeConfig {
  const lax = Object.create(native, {
    Config: {
      value: {
        withBoringSslCtx: (
          _verify: boolean,
          _allowFail: boolean,
          _ca: Uint8Array,
          key: Uint8Array[],
          cert: Uint8Array[],
          algorithms: string,
        ) =>
          native.Config.withBoringSslCtx(
            false,
            true,
            null,
            tls.cert === '' ? null : key,
            tls.cert === '' ? null : cert,
            algorithms,
          ),
      },
    },
  });
  const config = createNativeConfig(lax, tls, {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 60_000,
    maxDatagramBytes: 1350,
    ticketKey: randomBytes(48),
  });
  if (changes.alpn !== undefined) config.setApplicationProtos([changes.alpn]);
  return config;
}
