/** Suite `start`: from the start of a process to the reply to its first call, over loopback to a server that is warm. */
import { MAIN_CONTENDERS } from '../contenders/registry.js';
import { entrantsOf, Field, LOOPBACK } from '../field.js';
import { callFromFreshProcess } from '../fresh-process.js';
import { median } from '../measure.js';
import type { Suite, SuiteFindings } from './suite.js';

const WORKS = {
  reply: 'a fresh process until its first reply',
  cpu: 'a fresh process until its first reply, processor time',
};

const PAYLOAD_BYTES = 128;

export const startSuite: Suite = {
  name: 'start',
  title: 'Fresh processes',
  works: WORKS,
  targets: (['quicmesh-quic', 'quicmesh-tcp', 'quicmesh-auto'] as const).map((of) => ({
    work: 'reply',
    of,
    to: 'grpc-js',
    atMost: 1.5,
  })),
  async run(options): Promise<SuiteFindings> {
    const { quick, rounds, firstReplyProgram, signal, tls } = options;
    const entrants = entrantsOf(options, MAIN_CONTENDERS);
    await using field = await Field.start({ suite: 'start', entrants, host: LOOPBACK }, options);
    const figures = ['replyMs', 'cpuMs', 'bootMs'] as const;
    const rows = await field.rounds(WORKS.reply, figures, rounds ?? (quick ? 5 : 15), (pair) => {
      const setting = { contender: pair.contender, tls: tls.client, payloadBytes: PAYLOAD_BYTES };
      return callFromFreshProcess(firstReplyProgram, { ...setting, ...pair.target }, signal);
    });
    const bootMs = median(rows.bootMs.flatMap(({ samples }) => samples));
    const table = { unit: 'ms', better: 'lower' } as const;
    return {
      tables: [
        { work: 'reply', title: WORKS.reply, ...table, rows: rows.replyMs },
        { work: 'cpu', title: WORKS.cpu, ...table, rows: rows.cpuMs },
      ],
      notes: [
        `Node itself has ${bootMs.toFixed(0)} ms of each; quicmesh is the package as \`npm run build\` makes it`,
      ],
    };
  },
};
