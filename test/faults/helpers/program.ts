/** The program of a node process: one node in most tests, several where a test needs many. Ends with its parent. */
import { NodeHost } from './node-host.js';
import type { Command, Report } from './protocol.js';

const hosts = new Map<string, NodeHost>();

process.on('disconnect', () => process.exit());
process.on('message', async ({ id, nodeId, kind, takes }: Command) => {
  const host = hosts.get(nodeId) ?? new NodeHost(nodeId);
  hosts.set(nodeId, host);
  try {
    report({ id, gives: await host.carryOut(kind, takes) });
  } catch (thrown) {
    const { code } = thrown as { readonly code?: string };
    report({ id, failed: `${code ?? ''} ${thrown instanceof Error ? thrown.message : thrown}` });
  }
});

function report(message: Report): void {
  process.send?.(message);
}
