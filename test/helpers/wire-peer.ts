/** Peers that keep to the handshake and then send whatever messages a test makes up, and keep those they get. */
import type { ExecutionContext } from 'ava';
import type { MeshError, MeshErrorCode } from '../../src/errors.js';
import type { Frame } from '../../src/protocol/frame.js';
import { type Capabilities, type Message, MessageCodec } from '../../src/protocol/index.js';
import { ReplayGuard } from '../../src/protocol/replay-guard.js';
import type { Connection, FrameStream, Transport } from '../../src/transport/connection.js';
import { awaitHandshake } from '../../src/transport/dialing/handshaker.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert, type TestNodeId } from './certs.js';
import { Collector, openCollected } from './frame-client.js';
import type { TestTransport } from './nodes.js';
import { handshakeConfig, shakeHands } from './shake-hands.js';

const codec = new MessageCodec();

/** One stream of messages. */
export class WireStream {
  readonly #stream: FrameStream;
  readonly #collector: Collector;

  constructor(stream: FrameStream, collector: Collector) {
    this.#stream = stream;
    this.#collector = collector;
  }

  /** What has come so far. */
  get messages(): Message[] {
    return this.#collector.payloads.map((payload) => codec.decode(payload));
  }

  /** All messages, when the other side has ended; rejects with its reset. */
  async ended(): Promise<Message[]> {
    await this.#collector.ended;
    return this.messages;
  }

  /** The other side's reset; never fulfils otherwise. */
  get wasReset(): Promise<MeshError> {
    return this.#collector.reset;
  }

  send(message: Message, { end = false } = {}): void {
    this.#stream.send(codec.encode(message), { end });
  }

  end(): void {
    this.#stream.end();
  }

  reset(code: MeshErrorCode): void {
    this.#stream.reset(code);
  }
}

class FirstLook extends Collector {
  readonly #onFirst: (message: Message, collector: Collector) => void;

  constructor(onFirst: (message: Message, collector: Collector) => void) {
    super();
    this.#onFirst = onFirst;
  }

  override onFrame(frame: Frame): void {
    super.onFrame(frame);
    if (this.payloads.length === 1) this.#onFirst(codec.decode(frame.payload), this);
  }
}

/** Connects to a node as n1. @returns what opens a stream */
export async function dialWire(
  t: ExecutionContext,
  transport: TestTransport,
  target: { readonly host: string; readonly port: number },
): Promise<() => WireStream> {
  const dialer = await transportOf(t, transport, 'n1');
  const connection = await dialer.dial(target);
  await shakeHands(connection);
  return () => {
    const { stream, collector } = openCollected(connection);
    return new WireStream(stream, collector);
  };
}

/**
 * Listens as n2, and answers pings.
 * @param onStream called for every other stream that is opened, with its first message
 * @param capabilities what the peer has besides the usual
 * @returns where
 */
export async function listenWire(
  t: ExecutionContext,
  transport: TestTransport,
  onStream: (stream: WireStream) => void,
  capabilities: Partial<Capabilities> = {},
): Promise<{ nodeId: 'n2'; host: string; port: number }> {
  const replayGuard = new ReplayGuard();
  const acceptPeer = (connection: Connection): Promise<unknown> =>
    awaitHandshake(connection, {
      codec,
      timeoutMs: 10_000,
      config: handshakeConfig('n2', capabilities),
      replayGuard,
      refusalOf: () => undefined,
      accepted: () => (stream) => {
        return new FirstLook((first, collector) => {
          if (first.type === 'ping')
            stream.send(codec.encode({ ...first, type: 'pong' }), { end: true });
          else onStream(new WireStream(stream, collector));
        });
      },
    });
  const listening = await transportOf(t, transport, 'n2');
  const { address } = await listening.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: (connection) =>
      void acceptPeer(connection).catch((error) => t.fail(String(error))),
  });
  return { nodeId: 'n2', ...address };
}

async function transportOf(
  t: ExecutionContext,
  transport: TestTransport,
  nodeId: TestNodeId,
): Promise<Transport> {
  const tls = await nodeCert(nodeId);
  const made =
    transport === 'tcp'
      ? new TcpTransport({ cluster: 'test', tls: () => tls })
      : new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => made.close());
  return made;
}
