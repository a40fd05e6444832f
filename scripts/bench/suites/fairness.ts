/**
 * Suite `fairness`: what flows of the kernel keep of a narrow link beside one of ours, and what a hundred of ours that begin at
 * once lose, over links that it makes. The link itself counts, whatever the processes do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { textOf } from '../../../src/base/realms.js';
import type { ContenderName } from '../contenders/registry.js';
import { type Entrant, entrantsOf, Field } from '../field.js';
import { bytesTo, CONTROLLERS, type Controller, OwnLink } from '../link/own-link.js';
import type { Shape } from '../link/shape.js';
import { crowdTables } from './fairness-crowd.js';
import type { FigureRow, FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  cubic: 'what one cubic flow of the kernel keeps of a link of 20 Mbit/s and 50 ms',
  bbr: 'what one BBR flow of the kernel keeps of it',
  crowd: 'a hundred connections begin at once over 100 Mbit/s and 50 ms',
};

/** Its queue holds one bandwidth-delay product. */
const NARROW = { rttMs: 50, rateMbit: 20 } as const satisfies Shape;
/** What carries the kernel's flows. */
const KERNEL: ContenderName = 'bare-tls';
const RIVALS: readonly ContenderName[] = ['quicmesh-quic', 'bare-quic'];
const QUICK_RIVALS: readonly ContenderName[] = ['quicmesh-quic'];
/** Both flows have found their pace by then. */
const SETTLE_MS = 3000;
const MEASURED_MS = 20_000;
const QUICK_MEASURED_MS = 6000;
const ASK_LIMIT_MS = 30_000;

export const fairnessSuite: Suite = {
  name: 'fairness',
  title: 'Shares of a link',
  works: WORKS,
  targets: [
    { work: 'cubic', of: 'quicmesh-quic', atLeast: 35 },
    { work: 'bbr', of: 'quicmesh-quic', atLeast: 35 },
    { work: 'crowd', of: 'quicmesh-quic', atMost: 5 },
  ],
  async run(options): Promise<SuiteFindings> {
    await using link = await OwnLink.create();
    const tables: FigureTable[] = [];
    if (options.wants('cubic') || options.wants('bbr')) {
      tables.push(...(await duelTables(link, options)));
    }
    if (options.wants('crowd')) tables.push(...(await crowdTables(link, WORKS.crowd, options)));
    const controller = await link.defaultController();
    const notes = [
      'shares are of what the link could carry, headers of IP included',
      `without a name, TCP goes by ${controller}, the system's default`,
    ];
    return { tables, notes };
  },
};

/** A flow of the kernel beside another. */
interface Duel {
  readonly kernel: Entrant & { readonly host: string };
  readonly rival: Entrant;
}

/** In percent of the link. */
interface Outcome {
  readonly kernel: number;
  readonly rival: number;
}

async function duelTables(link: OwnLink, options: SuiteOptions): Promise<FigureTable[]> {
  const { quick, rounds, tell, wants } = options;
  await link.shape(NARROW);
  const kernels = new Map<Controller, Duel['kernel']>();
  const missing = new Map<Controller, string>();
  for (const controller of CONTROLLERS) {
    try {
      kernels.set(controller, await kernelOf(link, controller));
    } catch (thrown) {
      missing.set(controller, textOf(thrown));
    }
  }
  const wanted = CONTROLLERS.flatMap((name) => (wants(name) ? (kernels.get(name) ?? []) : []));
  const duels = wanted.flatMap((kernel) => duelsOf(kernel, options));
  const [cubic, bbr] = [kernels.get('cubic'), kernels.get('bbr')];
  // For comparison: one of both kinds is in both tables.
  if (cubic && bbr && options.takesPart(KERNEL)) duels.push({ kernel: cubic, rival: bbr });
  const outcomes = new Map<Duel, Outcome[]>(duels.map((duel) => [duel, []]));
  const failures = new Map<Duel, string>();
  const count = rounds ?? (quick ? 1 : 3);
  for (let round = 1; round <= count; round += 1) {
    for (const duel of duels.filter((one) => !failures.has(one))) {
      tell(`fairness: ${duel.kernel.name} and ${duel.rival.name}, round ${round} of ${count}`);
      try {
        outcomes.get(duel)?.push(await play(link, duel, options));
      } catch (thrown) {
        options.signal.throwIfAborted();
        failures.set(duel, textOf(thrown));
      }
    }
  }
  return CONTROLLERS.filter(wants).flatMap((controller) => {
    const own = duels.flatMap((duel) => {
      const isOwn = duel.kernel.name === nameOf(controller);
      if (!isOwn && duel.rival.name !== nameOf(controller)) return [];
      const taken = outcomes.get(duel) ?? [];
      const row = { name: isOwn ? duel.rival.name : duel.kernel.name, remark: failures.get(duel) };
      const kept = taken.map(({ kernel, rival }) => (isOwn ? kernel : rival));
      return [{ row, kept, both: taken.map(({ kernel, rival }) => kernel + rival) }];
    });
    const lacking = missing.get(controller);
    const none: FigureRow[] =
      lacking === undefined ? [] : [{ name: nameOf(controller), samples: [], remark: lacking }];
    const table = { unit: '% of the link', better: 'higher' } as const;
    return [
      {
        work: controller,
        title: `${WORKS[controller]}, beside`,
        ...table,
        rows: [...own.map(({ row, kept }) => ({ ...row, samples: kept })), ...none],
      },
      {
        work: `${controller}-both`,
        title: `${nameOf(controller)} and what is beside it, both together`,
        ...table,
        rows: [...own.map(({ row, both }) => ({ ...row, samples: both })), ...none],
      },
    ];
  });
}

/** @throws Error when the kernel has no such */
async function kernelOf(link: OwnLink, controller: Controller): Promise<Duel['kernel']> {
  return { name: nameOf(controller), contender: KERNEL, host: await link.hostOf(controller) };
}

function duelsOf(kernel: Duel['kernel'], options: SuiteOptions): Duel[] {
  return entrantsOf(options, options.quick ? QUICK_RIVALS : RIVALS).map((rival) => ({
    kernel,
    rival,
  }));
}

function nameOf(controller: Controller): string {
  return `kernel ${controller}`;
}

async function play(
  link: OwnLink,
  { kernel, rival }: Duel,
  options: SuiteOptions,
): Promise<Outcome> {
  const { quick, signal } = options;
  const { host, namespaces } = link;
  // New processes each time: their flows end with them.
  const setting = { suite: 'fairness', entrants: [kernel, rival], host, namespaces };
  await using field = await Field.start(setting, options);
  const saturate = { kind: 'saturate', count: 1 } as const;
  await Promise.all(
    field.pairs.map((pair) => pair.attempt((one) => one.askClient(saturate, ASK_LIMIT_MS))),
  );
  const failed = field.pairs.find(({ failure }) => failure !== undefined);
  if (failed !== undefined) throw new Error(`${failed.name}: ${failed.failure}`);
  await sleep(SETTLE_MS, undefined, { signal });
  const [before, beganMs] = [await link.count(), performance.now()];
  await sleep(quick ? QUICK_MEASURED_MS : MEASURED_MS, undefined, { signal });
  const [after, endedMs] = [await link.count(), performance.now()];
  const capacityBytes = (NARROW.rateMbit * 1000 * (endedMs - beganMs)) / 8;
  const percentTo = (to: string): number =>
    (100 * (bytesTo(after.up, to) - bytesTo(before.up, to))) / capacityBytes;
  return { kernel: percentTo(kernel.host), rival: percentTo(rival.host ?? host) };
}
