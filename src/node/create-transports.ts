/** Makes the transports that the options of a node ask for. */
import type { NodeLog } from '../telemetry/logging.js';
import type { StreamLimits, TlsMaterial, Transport } from '../transport/connection.js';
import { PeerRates } from '../transport/peer-rates.js';
import { QuicTransport } from '../transport/quic/transport.js';
import { TcpTransport } from '../transport/tcp/transport.js';
import { KeyLog } from '../transport/trust/key-log.js';
import type { NodeConfig } from './options/resolve.js';

/**
 * The transports in order of preference. Transport objects in the options are used as they are.
 * @param tls the certificates in force
 */
export function createTransports(
  config: NodeConfig,
  tls: () => TlsMaterial,
  log: NodeLog,
): Transport[] {
  const rates = new PeerRates(config.limits);
  const means = { tls, log, keyLog: createKeyLog(config, log), rates };
  return config.transports.map((transport) =>
    typeof transport === 'string' ? createTransport(transport, config, means) : transport,
  );
}

/** What all transports of a node share, beside its options. */
interface Means {
  readonly tls: () => TlsMaterial;
  readonly log: NodeLog;
  readonly keyLog: KeyLog | undefined;
  readonly rates: PeerRates;
}

function createTransport(
  name: 'quic' | 'tcp',
  config: NodeConfig,
  { tls, log, keyLog, rates }: Means,
): Transport {
  const { admission, timeouts, quic } = config;
  const { connectMs: connectTimeoutMs, keepAliveMs } = timeouts;
  const limits = streamLimits(config.limits);
  const { cluster, nodeId } = config;
  const both = {
    tls,
    cluster,
    nodeId,
    limits,
    rates,
    admission,
    connectTimeoutMs,
    keepAliveMs,
    keyLog,
  };
  if (name === 'tcp') return new TcpTransport({ ...both, handshakeTimeoutMs: connectTimeoutMs });
  const { required: _, ...quicOptions } = quic;
  return new QuicTransport({
    ...both,
    ...quicOptions,
    idleTimeoutMs: timeouts.idleMs,
    onBinding: (binding) => log.info({ transport: name, binding }, 'QUIC binding loaded'),
  });
}

/** The node's limits by the names that transports have for them. */
function streamLimits(limits: NodeConfig['limits']): Partial<StreamLimits> {
  return {
    maxMessageBytes: limits.messageBytes,
    maxIncomingStreams: limits.streams,
    maxStreamWindowBytes: limits.callBytes,
    maxConnectionWindowBytes: limits.connectionBytes,
    streamOpensPerSecond: limits.streamOpensPerSecond,
    streamResetsPerSecond: limits.streamResetsPerSecond,
  };
}

function createKeyLog({ keyLogFile }: NodeConfig, log: NodeLog): KeyLog | undefined {
  if (keyLogFile === undefined) return undefined;
  const where = { keyLogFile };
  log.warn(where, 'the secrets of every connection are written to a file: for debugging only');
  return new KeyLog(keyLogFile, (error) => {
    log.error({ ...where, code: error.code }, `cannot log secrets: ${error.message}`);
  });
}
