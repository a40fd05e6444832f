/** The program of one process: the server's or the client's side of one contender, as the runner tells it. */
import { randomBytes } from 'node:crypto';
import { textOf } from '../../src/base/realms.js';
import type { SocketAddress } from '../../src/index.js';
import type { Client, Dialer, FirstCall, History, Server } from './contenders/contender.js';
import { contenderEntry } from './contenders/registry.js';
import { heartbeats } from './heartbeats.js';
import { probeLink, serveProbes } from './link-probe.js';
import { percentile } from './measure.js';
import { ping, servePings } from './ping.js';
import { startProfile, stopProfile } from './profile.js';
import type { Answer, Command, EchoFigures, EchoLoad, Report, Usage } from './protocol.js';

let server: Server | undefined;
let dialer: Dialer | undefined;
const clients: Client[] = [];

/** Connections opened at once. */
const DIALS_AT_ONCE = 16;

// Whoever started this process is gone, however it went.
process.on('disconnect', () => process.exit(1));
process.on('message', async (command: Command) => {
  let report: Report;
  try {
    report = { kind: 'answer', answer: await carryOut(command) };
  } catch (thrown) {
    report = { kind: 'failed', reason: textOf(thrown) };
  }
  process.send?.(report, () => {
    if (command.kind === 'close') process.exit(0);
  });
});

async function carryOut(command: Command): Promise<Answer> {
  switch (command.kind) {
    case 'serve':
      server = await (await contenderEntry(command.contender).load()).serve(command);
      return { port: server.port };
    case 'prepare':
      dialer = await (await contenderEntry(command.contender).load()).createDialer(command);
      return {};
    case 'connect':
      await connect(command.count);
      return {};
    case 'echo':
      return echo(newestClient(), command);
    case 'upload':
      return upload(newestClient(), command.totalBytes);
    case 'heartbeats':
      return heartbeats(newestClient(), command);
    case 'saturate':
      await saturate(command.count);
      return {};
    case 'usage':
      return usage(command.collectGarbage);
    case 'serveProbes':
      return { port: await serveProbes(command.host) };
    case 'probe':
      return probeLink(command, command.count);
    case 'firstReply':
      return firstReply(command.history, command.payloadBytes);
    case 'servePings':
      return servePings(command.host);
    case 'ping':
      return ping(command, command.count);
    case 'serveDelay':
      return delay(command.target, command.delayMs);
    case 'startProfile':
      await startProfile();
      return {};
    case 'stopProfile':
      return { top: await stopProfile(command.path) };
    case 'close':
      await dialer?.close();
      await server?.close();
      return {};
  }
}

async function connect(count: number): Promise<void> {
  const from = dialer;
  if (from === undefined) throw new Error('connect came before prepare');
  let left = count;
  const lane = async (): Promise<void> => {
    while (left-- > 0) clients.push(await from.connect());
  };
  await Promise.all(Array.from({ length: Math.min(count, DIALS_AT_ONCE) }, lane));
}

/** Every lane makes one call after another. Payloads are random, so that nobody gains by compressing them. */
async function echo(client: Client, load: EchoLoad): Promise<EchoFigures> {
  const payload = randomBytes(load.payloadBytes);
  const first = await client.echo(payload);
  if (!payload.equals(first)) throw new Error('other bytes came back than were sent');
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + load.durationMs;
  const lane = async (): Promise<void> => {
    for (let sentMs = startMs; sentMs < endMs; ) {
      const reply = await client.echo(payload);
      const nowMs = performance.now();
      if (reply.length !== payload.length) throw new Error('a reply of another length came back');
      latenciesMs.push(nowMs - sentMs);
      sentMs = nowMs;
    }
  };
  await Promise.all(Array.from({ length: load.concurrency }, lane));
  const elapsedMs = performance.now() - startMs;
  const sorted = Float64Array.from(latenciesMs).sort();
  return {
    calls: sorted.length,
    elapsedMs,
    p50Us: percentile(sorted, 50) * 1000,
    p99Us: percentile(sorted, 99) * 1000,
  };
}

async function upload(client: Client, totalBytes: number): Promise<{ elapsedMs: number }> {
  const startMs = performance.now();
  await client.upload(totalBytes);
  return { elapsedMs: performance.now() - startMs };
}

/** Each on a connection of its own, all beginning at the same moment. */
async function saturate(count: number): Promise<void> {
  const former = clients.length;
  await connect(count);
  const never = new AbortController().signal;
  for (const client of clients.slice(former)) {
    if (client.saturate === undefined) throw new Error('it has no transfer without an end');
    // It ends with the process, whatever it says then.
    client.saturate('upload', never).catch(() => {});
  }
}

async function firstReply(history: History, payloadBytes: number): Promise<{ elapsedMs: number }> {
  const from = dialer;
  if (from === undefined) throw new Error('a first call came before prepare');
  const payload = randomBytes(payloadBytes);
  const call = (await from.prepareFirstCall?.(history)) ?? connectThenCall(from, history);
  try {
    const startMs = performance.now();
    const reply = await call.echo(payload);
    const elapsedMs = performance.now() - startMs;
    if (!payload.equals(reply)) throw new Error('other bytes came back than were sent');
    return { elapsedMs };
  } finally {
    await call.close();
  }
}

function connectThenCall(from: Dialer, history: History): FirstCall {
  if (history !== 'cold') throw new Error('it keeps nothing of former connections');
  return {
    echo: async (payload) => (await from.connect()).echo(payload),
    close: async () => {},
  };
}

async function delay(target: SocketAddress, delayMs: number): Promise<{ port: number }> {
  // Of all processes one needs it.
  const { serveDelay } = await import('./delay.js');
  return { port: await serveDelay(target, delayMs) };
}

function usage(collectGarbage: boolean): Usage {
  if (collectGarbage) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage.rss(),
    cpuMs: (user + system) / 1000,
    atMs: performance.now(),
  };
}

function newestClient(): Client {
  const client = clients.at(-1);
  if (client === undefined) throw new Error('there is no connection yet');
  return client;
}
