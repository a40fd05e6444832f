/** Keeps to TLS, and then sends packets with whatever frames of QUIC it likes. */
import { errorOfClose } from '../../../src/transport/quic/binding/close-codes.js';
import { HostileClient as PacketSender } from '../../helpers/quic/hostile-client.js';
import type { Place } from '../case.js';
import { type ClientOptions, HostileClient } from './client.js';

export class PacketClient extends HostileClient {
  readonly transport = 'quic';
  readonly #sender: PacketSender;
  readonly #teardowns: (() => unknown)[];

  static async dial({ target, tls }: ClientOptions): Promise<PacketClient> {
    const teardowns: (() => unknown)[] = [];
    const teardown = (fn: () => unknown) => void teardowns.push(fn);
    return new PacketClient(await PacketSender.connect({ teardown }, target, tls), teardowns);
  }

  private constructor(sender: PacketSender, teardowns: (() => unknown)[]) {
    super();
    this.#sender = sender;
    this.#teardowns = teardowns;
    sender.onPayload = (payload) => {
      this.ending ??= endingIn(payload);
    };
  }

  /** Frames of QUIC, in one packet. */
  protected write(_to: Place, bytes: Uint8Array): void {
    void this.#sender.send(Buffer.from(bytes)).catch(() => {});
  }

  shut(): void {
    throw new Error('its frames are its own');
  }

  session(): Promise<Buffer> {
    throw new Error('there is no session');
  }

  /** Frames are dropped or they are not: the node's witnesses show that it lives. */
  override async ping(): Promise<void> {}

  protected leave(): void {
    // A close of the application's, with code 0 and no reason.
    if (this.hasHungUp) this.write(0, Buffer.from('1d0000', 'hex'));
    setTimeout(() => {
      for (const teardown of this.#teardowns.splice(0)) void teardown();
    }, 50);
  }
}

/** What a CONNECTION_CLOSE says, where the payload begins with one (RFC 9000, section 19.19). */
function endingIn(payload: Buffer) {
  const type = payload[0];
  if (type !== 0x1c && type !== 0x1d) return undefined;
  const bytes = 1 << (payload.readUInt8(1) >> 6);
  const errorCode = payload.readUIntBE(1, Math.min(bytes, 4)) & (2 ** (8 * bytes - 2) - 1);
  return errorOfClose({ isApp: type === 0x1d, errorCode, reason: Buffer.alloc(0) }, 'remote', true)
    .code;
}
