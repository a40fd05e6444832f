/** A {@link HostileClient} over TCP and TLS: all that it sends goes on one stream of bytes. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { type Frame, FrameDecoder } from '../../../src/protocol/frame.js';
import { handshakeError } from '../../../src/transport/trust/tls-errors.js';
import { devCerts } from '../../helpers/certs.js';
import { knockingProtocols } from '../../helpers/knock.js';
import { TEST_CLUSTER } from '../../helpers/quic/knocking.js';
import type { Place } from '../case.js';
import { until } from '../wait.js';
import { ANY_FRAME, type ClientOptions, HostileClient } from './client.js';

export class TcpClient extends HostileClient {
  readonly transport = 'tcp';
  readonly #socket: TLSSocket;
  readonly #decoder = new FrameDecoder(ANY_FRAME);
  #session: Buffer | undefined;

  /** Fulfils when TLS is done, or has failed. */
  static async dial({
    target,
    tls,
    changes = {},
    from = '127.0.0.1',
  }: ClientOptions): Promise<TcpClient> {
    const [protocol, knock] = knockingProtocols(await devCerts(), TEST_CLUSTER);
    const credentials = tls.cert === '' ? {} : { cert: tls.cert, key: tls.key };
    const source = { localAddress: from };
    const socket = connect({
      ...target,
      ...source,
      ...credentials,
      // As with nodes: OpenSSL would send the CA along.
      ca: [],
      session: changes.session,
      maxVersion: changes.maxVersion ?? 'TLSv1.3',
      // Weak certificates are shown as well.
      ciphers: 'DEFAULT@SECLEVEL=0',
      ALPNProtocols: [changes.alpn ?? protocol, knock],
      rejectUnauthorized: false,
    });
    const client = new TcpClient(socket);
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => {});
    return client;
  }

  private constructor(socket: TLSSocket) {
    super();
    this.#socket = socket;
    socket.on('error', (cause) => {
      const { code } = handshakeError(cause);
      this.ending ??= code === 'ConnectFailed' ? 'lost' : code;
    });
    socket.on('session', (session) => {
      this.#session = session;
    });
    socket.on('data', (chunk: Buffer) => {
      this.#decoder.push(chunk);
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) this.hear(frame);
    });
    socket.on('end', () => {
      this.ending ??= 'lost';
    });
    socket.on('close', () => {
      this.ending ??= 'lost';
    });
  }

  protected write(_to: Place, bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  shut(): void {
    throw new Error('there are no such things on TCP');
  }

  override stopReading(): void {
    this.#socket.pause();
  }

  override get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  protected leave(): void {
    this.#socket.destroy();
  }

  async session(): Promise<Buffer> {
    await until(() => this.#session !== undefined);
    return this.#session as Buffer;
  }

  #next(): Frame | undefined {
    return this.#decoder.next();
  }
}
