/** Heartbeats at a steady rate, alone or while one bulk transfer takes all that the same connection carries. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './contenders/contender.js';
import { percentile } from './measure.js';
import type { HeartbeatFigures, HeartbeatLoad } from './protocol.js';

/** The transfer has found its pace by then. */
const SATURATION_MS = 500;

/** As many bytes as the heartbeats of those who have such: others answer a call. */
const HEARTBEAT = Buffer.alloc(160, 7);

/** @throws Error when the contender cannot do that */
export async function heartbeats(client: Client, load: HeartbeatLoad): Promise<HeartbeatFigures> {
  const { bulk } = load;
  if (bulk === 'none') return { ...(await beat(client, load)), mbPerS: 0 };
  const { saturate } = client;
  if (saturate === undefined) throw new Error('it has no transfer without an end');
  const stop = new AbortController();
  const startMs = performance.now();
  const carried = saturate(bulk, stop.signal);
  try {
    // A transfer that ends by itself has failed.
    const figures = await Promise.race([
      sleep(SATURATION_MS).then(() => beat(client, load)),
      carried.then(() => Promise.reject(new Error('the transfer ended before the heartbeats'))),
    ]);
    stop.abort();
    const mbPerS = (await carried) / (performance.now() - startMs) / 1000;
    return { ...figures, mbPerS };
  } finally {
    stop.abort();
  }
}

/** One after the other is sent when it is due, whether those before it are back or not. */
async function beat(
  client: Client,
  { count, perSecond, isTwice = false }: HeartbeatLoad,
): Promise<Omit<HeartbeatFigures, 'mbPerS'>> {
  const once = client.heartbeat ?? (() => client.echo(HEARTBEAT));
  const heartbeat = isTwice ? client.heartbeatTwice : once;
  if (heartbeat === undefined) throw new Error('it sends nothing twice');
  const latenciesMs = new Float64Array(count);
  const sent: Promise<void>[] = [];
  const startMs = performance.now();
  for (let number = 0; number < count; number += 1) {
    const waitMs = startMs + (number * 1000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const sentMs = performance.now();
    sent.push(
      heartbeat().then(() => {
        latenciesMs[number] = performance.now() - sentMs;
      }),
    );
  }
  await Promise.all(sent);
  latenciesMs.sort();
  return {
    p50Us: percentile(latenciesMs, 50) * 1000,
    p99Us: percentile(latenciesMs, 99) * 1000,
    maxUs: percentile(latenciesMs, 100) * 1000,
  };
}
