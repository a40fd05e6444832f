/**
 * A member that was taken over does all that it can at once, to three nodes at once: none of them loses a call of the others, a
 * heartbeat or a connection.
 *
 * What it costs them is told: how long heartbeats take, against a control in which the same nodes are as busy with work that
 * gives way every millisecond; how much memory grows; and how long they had to wait for a processor, of which there are
 * fewer than processes. The aims are three times the p99 of the control, and memory of `limits.nodeBytes` with 64 MB. Of times nothing
 * is asserted, for they depend on who else has the processors; of memory six times the aim.
 *
 * `ATTACK_SECONDS=60 npm run test:faults -- test/faults/compromised-member.fault.ts` takes a minute. With `ATTACK=bombs` only the
 * attacks are made whose names fit that regular expression.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { HostileProcess } from './helpers/hostile-member/hostile-process.js';
import type { Deeds } from './helpers/hostile-member/protocol.js';
import { assertAllAnswered, summarize } from './helpers/outcomes.js';
import { MemoryWatch, processorSeconds, waitedSeconds } from './helpers/process-figures.js';
import type { LoadOptions, Outcome } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const ATTACK_MS = Number(process.env.ATTACK_SECONDS ?? 20) * 1000;
const ONLY = process.env.ATTACK ?? '';
const BUSY_MS = ATTACK_MS / 2;
const WARM_UP_MS = 2000;
const MIB = 1024 * 1024;
/** Less than the default, so that an attack of seconds can reach it. */
const LIMITS = { nodeBytes: 64 * MIB, connectionBytes: 16 * MIB } as const;
/** What a node may hold for its peers, and what is on its way to the garbage collector. */
const ALLOWED_GROWTH = LIMITS.nodeBytes + 64 * MIB;
/** A busy machine collects late: what is more than this many times as much was not bounded. */
const GROWTH_SLACK = 6;
const PER_SECOND = 20;
/** A busy machine with two processors has many processes to run. What is late is told; what is lost is a fault. */
const PATIENCE_MS = 30_000;

const HONEST = ['n1', 'n2', 'n3'] as const;

/** From whom to whom, and by which transport: the dialer decides. */
const LINKS = [
  { from: 'n1', to: 'n2', transport: 'quic' },
  { from: 'n2', to: 'n1', transport: 'quic' },
  { from: 'n3', to: 'n1', transport: 'tcp' },
  { from: 'n3', to: 'n2', transport: 'tcp' },
  { from: 'n1', to: 'n3', transport: 'tcp' },
  { from: 'n2', to: 'n3', transport: 'tcp' },
] as const;

test('a member that does its worst costs others no call, no heartbeat and no connection', async (t) => {
  t.timeout(ATTACK_MS + BUSY_MS + 120_000);
  const nodes = await startNodes(t);
  const pids = [...nodes.values()].map((node) => node.process.pid);
  const member = await HostileProcess.start(t);
  const all = [member.pid, ...pids];

  await loads(nodes, 'warm-up', WARM_UP_MS);
  // The nodes that are attacked compute, and wait for processors that others have. So do those of the control.
  member.spin();
  for (const node of nodes.values()) await node.ask('work', { isOn: true });
  const memoryBefore = new MemoryWatch(pids);
  const busy = await loads(nodes, 'busy', BUSY_MS);
  const before = memoryBefore.stop();
  for (const node of nodes.values()) await node.ask('work', { isOn: false });
  const [usedBefore, waitedBefore] = [all.map(processorSeconds), all.map(waitedSeconds)];

  const memory = new MemoryWatch(pids);
  const targets = [...nodes.values()].map(({ target }) => target);
  member.attack(targets, ONLY);
  const attacked = await loads(nodes, 'attacked', ATTACK_MS);
  const during = memory.stop();
  const used = all.map((pid, i) => processorSeconds(pid) - usedBefore[i]!);
  const waited = all.map((pid, i) => waitedSeconds(pid) - waitedBefore[i]!);
  const deeds = await member.stop();

  const growths = pids.map((pid) => during.get(pid)! - before.get(pid)!);
  tell(t, { busy, attacked, growths, used, waited, deeds });
  for (const { calls, heartbeats } of [...busy.values(), ...attacked.values()]) {
    assertAllAnswered(t, calls);
    assertAllAnswered(t, heartbeats);
  }
  for (const growth of growths) t.true(growth < GROWTH_SLACK * ALLOWED_GROWTH, `${mb(growth)} MB`);
  for (const node of nodes.values()) await assertNobodyLost(t, node);
  // An attack that never comes about proves nothing.
  for (const [name, { done, reason }] of Object.entries(deeds))
    t.true(done > 0, `${name}: ${reason}`);
});

type Nodes = ReadonlyMap<string, RemoteNode>;

/** Nodes that have found each other. */
async function startNodes(t: ExecutionContext): Promise<Nodes> {
  const nodes = new Map<string, RemoteNode>();
  for (const nodeId of HONEST) {
    const transports = nodeId === 'n3' ? (['tcp', 'quic'] as const) : (['quic', 'tcp'] as const);
    nodes.set(
      nodeId,
      await RemoteNode.start(t, nodeId, { options: { transports, limits: LIMITS } }),
    );
  }
  for (const [dialer, acceptor] of [
    ['n1', 'n2'],
    ['n3', 'n1'],
    ['n3', 'n2'],
  ] as const) {
    await nodes.get(dialer)!.connect(nodes.get(acceptor)!.target, true);
  }
  for (const { from, to, transport } of LINKS) {
    const links = await nodes.get(from)!.links(to);
    t.deepEqual(
      links.map((link) => link.transport),
      [transport],
      `${from} to ${to}`,
    );
  }
  return nodes;
}

interface Served {
  readonly calls: Outcome[];
  readonly heartbeats: Outcome[];
}

/** Calls and heartbeats on all links. @returns how they went, by transport */
async function loads(
  nodes: Nodes,
  phase: string,
  forMs: number,
): Promise<ReadonlyMap<'quic' | 'tcp', Served>> {
  const served = new Map([
    ['quic', { calls: [], heartbeats: [] } as Served],
    ['tcp', { calls: [], heartbeats: [] } as Served],
  ] as const);
  const begun = LINKS.flatMap(({ from, to, transport }) =>
    (['calls', 'heartbeats'] as const).map((kind) => {
      const options: LoadOptions = {
        name: `${phase} ${kind} from ${from} to ${to}`,
        target: nodes.get(to)!.target,
        perSecond: PER_SECOND,
        timeoutMs: PATIENCE_MS,
        replaySafe: 'none',
        heartbeats: kind === 'heartbeats',
      };
      return { node: nodes.get(from)!, options, outcomes: served.get(transport)![kind] };
    }),
  );
  for (const { node, options } of begun) await node.ask('startLoad', options);
  await sleep(forMs);
  await Promise.all(
    begun.map(async ({ node, options: { name }, outcomes }) => {
      outcomes.push(...(await node.ask('stopLoad', { name })));
    }),
  );
  return served;
}

async function assertNobodyLost(t: ExecutionContext, node: RemoteNode): Promise<void> {
  const honest = new Set<string | undefined>(HONEST);
  const lost = (await node.events()).filter(
    ({ kind, nodeId }) => honest.has(nodeId) && kind === 'peerDown',
  );
  t.deepEqual(lost, [], node.nodeId);
}

interface Figures {
  readonly busy: ReadonlyMap<string, Served>;
  readonly attacked: ReadonlyMap<string, Served>;
  readonly growths: readonly number[];
  /** Seconds of the processors: the member's, and those of the nodes. */
  readonly used: readonly number[];
  /** The same in which they wanted one and had none. */
  readonly waited: readonly number[];
  readonly deeds: Deeds;
}

function tell(t: ExecutionContext, figures: Figures): void {
  const { busy, attacked, growths, used, waited, deeds } = figures;
  for (const [transport, { calls, heartbeats }] of attacked) {
    const before = busy.get(transport)!;
    t.log(`${transport}, heartbeats: busy ${summarize(before.heartbeats)}`);
    t.log(`${transport}, heartbeats: attacked ${summarize(heartbeats)}`);
    const ratio = p99(heartbeats) / p99(before.heartbeats);
    t.log(`${transport}, heartbeats: p99 is ${ratio.toFixed(1)} times as long`);
    t.log(`${transport}, calls: busy ${summarize(before.calls)}`);
    t.log(`${transport}, calls: attacked ${summarize(calls)}`);
  }
  t.log(`nodes grew by ${growths.map(mb).join(', ')} MB, of ${mb(ALLOWED_GROWTH)} MB`);
  const [own = 0, ...theirs] = used;
  const sum = theirs.reduce((total, each) => total + each, 0);
  t.log(`processor: the member ${seconds([own])}, nodes ${seconds(theirs)}`);
  t.log(`they cost ${(sum / own).toFixed(2)} times what the member spent`);
  t.log(
    `without a processor: the member ${seconds(waited.slice(0, 1))}, nodes ${seconds(waited.slice(1))}`,
  );
  for (const [name, { done, refused, reason }] of Object.entries(deeds)) {
    t.log(`${name}: ${done} times, refused ${refused} times${reason ? `, as ${reason}` : ''}`);
  }
}

function seconds(each: readonly number[]): string {
  return `${each.map((one) => one.toFixed(1)).join(', ')} s`;
}

function p99(outcomes: readonly Outcome[]): number {
  const times = outcomes.map(
    ({ beganMs, settledMs = Number.POSITIVE_INFINITY }) => settledMs - beganMs,
  );
  times.sort((a, b) => a - b);
  return times[Math.floor(0.99 * (times.length - 1))] ?? Number.NaN;
}

function mb(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
