/** The program of a fresh process: its first call, over its first connection, and how long it has lived by then. */
import { randomBytes } from 'node:crypto';
import { textOf } from '../../src/base/realms.js';
import type { Library } from './contenders/quicmesh.js';
import { contenderEntry } from './contenders/registry.js';
import type { FreshCall, FreshReport } from './fresh-process.js';

const bootMs = performance.now();

/** As users have it, with whatever its package's build does for a quick start. */
const PACKAGE: string = 'quicmesh';
const installed = async (): Promise<Library> => (await import(PACKAGE)) as Library;

process.on('disconnect', () => process.exit(1));
process.on('message', async (call: FreshCall) => {
  let report: FreshReport;
  try {
    const contender = await contenderEntry(call.contender).load(installed);
    const dialer = await contender.createDialer(call);
    const client = await dialer.connect();
    const payload = randomBytes(call.payloadBytes);
    const reply = await client.echo(payload);
    const { user, system } = process.cpuUsage();
    report = { kind: 'replied', replyMs: performance.now(), bootMs, cpuMs: (user + system) / 1000 };
    if (!payload.equals(reply)) throw new Error('other bytes came back than were sent');
  } catch (thrown) {
    report = { kind: 'failed', reason: textOf(thrown) };
  }
  process.send?.(report);
});
