/** One attempt to reach a peer over TCP and TLS. */
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { DialTarget } from '../connection.js';
import type { KeyLog } from '../trust/key-log.js';
import { handshakeError } from '../trust/tls-errors.js';
import { unprovedFailure } from '../unproved.js';
import { protocolsWith } from './knock-protocol.js';
import { refusePeer } from './peer-check.js';
import type { TlsSetup } from './tls-context.js';

/** What {@link dialTls} is given. */
export interface DialTlsOptions<T> {
  readonly target: DialTarget;
  readonly setup: TlsSetup;
  /** See SPEC.md, "Knocks". */
  readonly knock: Uint8Array | undefined;
  /** The acceptor has hung up without an answer. */
  readonly unanswered: () => void;
  readonly timeoutMs: number;
  /** Gets the secrets of the connection. */
  readonly keyLog?: KeyLog | undefined;
  /** Any of them ends the attempt. */
  readonly signals: readonly AbortSignal[];
  /** Turns a socket whose TLS handshake is done into the result, or throws the reason to refuse the peer. */
  readonly adopt: (socket: TLSSocket) => T;
}

/**
 * Connects, and hands the socket to `adopt` in the turn of the event loop in which the handshake ends, so that no data is
 * missed. It owns the socket until it settles, which takes at most `timeoutMs`.
 * @throws MeshError ConnectTimeout, ConnectFailed, also for whatever fails before TLS is done, Cancelled, and what `adopt`
 *   throws, which the peer is told
 */
export function dialTls<T>(options: DialTlsOptions<T>) {
  const { target, timeoutMs, keyLog, signals, adopt } = options;
  return new Promise<T>((resolve, reject) => {
    const aborted = signals.find((signal) => signal.aborted);
    if (aborted !== undefined) {
      reject(cancelledError(aborted));
      return;
    }
    const socket = connect(connectOptions(options));
    if (keyLog !== undefined) socket.on('keylog', (line) => keyLog.append(line));
    const settle = () => {
      clearTimeout(timer);
      for (const signal of signals) offAbort(signal, cancelled);
    };
    const giveUp = (error: MeshError) => {
      settle();
      socket.destroy();
      reject(error);
    };
    const cancelled = (signal: AbortSignal) => giveUp(cancelledError(signal));
    const where = `${target.host}:${target.port}`;
    const timer = setTimeout(() => {
      giveUp(new MeshError('ConnectTimeout', `${where} did not answer within ${timeoutMs} ms`));
    }, timeoutMs);
    for (const signal of signals) onAbort(signal, cancelled);
    let isConnected = false;
    socket.once('connect', () => {
      isConnected = true;
    });
    const hungUp = (how: string, cause?: unknown) => {
      options.unanswered();
      const why = 'a silent node does so where CA, cluster, node id, secret or clock differ';
      giveUp(new MeshError('ConnectFailed', `${where} hung up${how}; ${why}`, { cause }));
    };
    const onError = (cause: unknown) => {
      const error = handshakeError(cause);
      const hasHungUp = isConnected && error.code === 'ConnectFailed' && error.side === 'local';
      if (hasHungUp) hungUp(` (${error.message})`, cause);
      // Until TLS is done, alerts are anybody's.
      else giveUp(unprovedFailure(error));
    };
    const onClose = () => hungUp('');
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.once('secureConnect', () => {
      settle();
      socket.off('close', onClose);
      try {
        resolve(adopt(socket));
        socket.off('error', onError);
      } catch (thrown) {
        const error = toMeshError(thrown);
        refusePeer(socket, error);
        reject(error);
      }
    });
  });
}

function connectOptions<T>({ target, setup, knock }: DialTlsOptions<T>): ConnectionOptions {
  const { host, port, nodeId } = target;
  return {
    host,
    port,
    secureContext: setup.context,
    ALPNProtocols: protocolsWith(knock),
    rejectUnauthorized: false,
    // Names are node ids, not host names, and are compared after the handshake.
    checkServerIdentity: () => undefined,
    ...(nodeId === undefined ? {} : { servername: nodeId }),
  };
}
