/** The transports of a node, as its options want them. */
import type { Logger } from 'pino';
import type { TlsMaterial, Transport } from '../transport/connection.js';
import { QuicTransport } from '../transport/quic/transport.js';
import { TcpTransport } from '../transport/tcp/transport.js';
import { KeyLog } from '../transport/trust/key-log.js';
import type { NodeConfig } from './options.js';

/**
 * In order of preference; those that the options bring along as they are.
 * @param tls the certificates in force
 */
export function createTransports(
  config: NodeConfig,
  tls: () => TlsMaterial,
  log: Logger,
): Transport[] {
  const keyLog = createKeyLog(config, log);
  return config.transports.map((transport) =>
    typeof transport === 'string' ? createTransport(transport, config, tls, keyLog) : transport,
  );
}

function createTransport(
  name: 'quic' | 'tcp',
  config: NodeConfig,
  tls: () => TlsMaterial,
  keyLog: KeyLog | undefined,
): Transport {
  const { connectTimeoutMs, keepAliveMs, idleTimeoutMs, maxDatagramBytes } = config;
  const { maxMessageBytes, maxStreams, door: admission, migration, congestionControl } = config;
  const { earlyData, sessionStore, ticketKeyLifetimeMs } = config;
  const { callBytes, connectionBytes, streamOpensPerSecond, streamResetsPerSecond } = config.limits;
  const limits = {
    maxMessageBytes,
    maxIncomingStreams: maxStreams,
    maxStreamWindowBytes: callBytes,
    maxConnectionWindowBytes: connectionBytes,
    streamOpensPerSecond,
    streamResetsPerSecond,
  };
  if (name === 'tcp') {
    return new TcpTransport({
      tls,
      limits,
      admission,
      connectTimeoutMs,
      handshakeTimeoutMs: connectTimeoutMs,
      keepAliveMs,
      keyLog,
    });
  }
  return new QuicTransport({
    tls,
    limits,
    admission,
    connectTimeoutMs,
    keepAliveMs,
    idleTimeoutMs,
    maxDatagramBytes,
    earlyData,
    sessionStore,
    ticketKeyLifetimeMs,
    keyLog,
    migration,
    congestionControl,
  });
}

function createKeyLog({ tlsKeyLogFile }: NodeConfig, log: Logger): KeyLog | undefined {
  if (tlsKeyLogFile === undefined) return undefined;
  const where = { tlsKeyLogFile };
  log.warn(where, 'the secrets of every connection are written to a file: for debugging only');
  return new KeyLog(tlsKeyLogFile, (error) => {
    log.error({ ...where, code: error.code }, `cannot log secrets: ${error.message}`);
  });
}
