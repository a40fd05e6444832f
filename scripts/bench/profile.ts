/**
 * A CPU profile of this process while it is measured, without its start. V8 tells native functions apart by their
 * address, which those of a Node-API module share: all of them come under the name of whichever it met first.
 */
import { writeFile } from 'node:fs/promises';
import { type Profiler, Session } from 'node:inspector/promises';
import { basename } from 'node:path';
import type { ProfileLine } from './protocol.js';

const SAMPLE_EVERY_US = 200;
const LINES = 25;

const session = new Session();

export async function startProfile(): Promise<void> {
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_EVERY_US });
  await session.post('Profiler.start');
}

/** Writes the profile and answers with the functions that took most time by themselves. */
export async function stopProfile(path: string): Promise<ProfileLine[]> {
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  await writeFile(path, JSON.stringify(profile));
  return topOf(profile);
}

function topOf({ nodes, samples = [] }: Profiler.Profile): ProfileLine[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const counts = new Map<string, number>();
  let busy = 0;
  for (const id of samples) {
    const name = names.get(id) ?? '';
    if (name === '(idle)') continue;
    busy += 1;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, LINES)
    .map(([name, count]) => ({ name, selfPercent: (100 * count) / busy }));
}

function nameOf({ functionName, url }: Profiler.ProfileNode['callFrame']): string {
  const name = functionName || 'anonymous';
  return url === '' ? name : `${name} (${basename(url)})`;
}
