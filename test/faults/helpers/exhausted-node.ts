/**
 * A node in a process that uses up its descriptors when it is told so. Started by `no-descriptors.fault.ts`; ends with its
 * parent. Opens files rather than sockets, so that nothing that it does on its own gives them back.
 */
import { openSync } from 'node:fs';
import { createNode, type MeshNode, type NodeOptions } from '../../../src/index.js';

/** `tls`: starts the node. `exhaust`: opens files until the system refuses. Otherwise tells what it has counted. */
export interface ExhaustedCommand {
  readonly tls?: NodeOptions['tls'];
  readonly exhaust?: boolean;
}

export interface ExhaustedReport {
  readonly port: number;
  readonly opened: number;
  readonly refused: number;
  readonly isExhausted: boolean;
}

let node: MeshNode | undefined;
let isExhausted = false;
process.on('disconnect', () => process.exit());
process.on('message', (command: ExhaustedCommand) => void obey(command));

async function obey({ tls, exhaust = false }: ExhaustedCommand): Promise<void> {
  if (tls !== undefined) await start(tls);
  if (exhaust) useUp();
  const { quic } = node?.counters.transports ?? {};
  process.send?.({
    port: node?.address?.port ?? 0,
    opened: quic?.peerSocketsOpened ?? 0,
    refused: quic?.peerSocketsRefused ?? 0,
    isExhausted,
  } satisfies ExhaustedReport);
}

async function start(tls: NodeOptions['tls']): Promise<void> {
  node = await createNode({
    nodeId: 'n2',
    cluster: 'faults',
    tls,
    listen: { host: '127.0.0.1', port: 0 },
    transports: ['quic'],
    logger: 'silent',
  });
  node.handle('query', () => ({}));
}

function useUp(): void {
  try {
    for (;;) openSync('/dev/null', 'r');
  } catch {
    isExhausted = true;
  }
}
