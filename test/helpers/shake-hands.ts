/** The handshake above a bare connection, for clients that then speak as they like. */
import { MessageCodec } from '../../src/protocol/codec.js';
import type { HandshakeConfig } from '../../src/protocol/handshake.js';
import type { Capabilities } from '../../src/protocol/message.js';
import type { Connection } from '../../src/transport/connection.js';
import { dialHandshake } from '../../src/transport/dialing/handshaker.js';
import type { TestNodeId } from './certs.js';

/** Goes through the handshake as a node of the cluster that test nodes belong to. */
export async function shakeHands(
  connection: Connection,
  nodeId: TestNodeId = 'n1',
): Promise<Connection> {
  const config = handshakeConfig(nodeId);
  await dialHandshake(connection, { codec: new MessageCodec(), timeoutMs: 10_000, config });
  return connection;
}

/** What such a client says of itself. */
export function handshakeConfig(
  nodeId: TestNodeId,
  more: Partial<Capabilities> = {},
): HandshakeConfig {
  const parts = { query: true, replication: true, consensus: true, dataTransfer: true };
  const limits = { maxStreams: 100, maxMessageBytes: 1024 * 1024 };
  return {
    nodeId,
    cluster: 'test',
    capabilities: { ...parts, ...limits, compressions: [], checksum: true, ...more },
  };
}
