/** Sound input, and too much of it: the limits of these nodes are set low. */

import { nodeCert } from '../../helpers/certs.js';
import { createForger } from '../../helpers/quic/forger.js';
import { END, frameOf, PLAIN, RESET, uint, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome, Scene, Step } from '../case.js';
import { TcpStranger, UdpStranger } from '../clients/stranger.js';
import { until } from '../wait.js';

const forger = await createForger(await nodeCert('n4'));

const PING = { type: 'ping' };
const WAIT = { type: 'request', method: 'wait' };
const overloaded: Outcome = { kind: 'closed', code: 'Overloaded' };
const full: Outcome = { kind: 'closed', code: 'ConnectionLimitExceeded' };

const ids = (count: number) => Array.from({ length: count }, (_, i) => 3 + 2 * i);
const send = (to: number, bytes: Uint8Array, fin = true): Step => ({ do: 'send', to, bytes, fin });
const calls = (count: number, message: unknown): Step[] =>
  ids(count).map((id) => send(id, frameOf(id, message)));
const run = (program: (scene: Scene) => Promise<void>): Step => ({ do: 'run', program });

/** A notice on the control stream of QUIC; among the others on TCP. */
const resets = (count: number): Step[] =>
  ids(count).map((id) => ({
    do: 'send',
    to: 'control',
    bytes: writeFrame(RESET, id, uint(4, 0x80)),
  }));

function* streams(): Generator<Case> {
  // Over both transports together, for they are one peer's.
  yield {
    name: '20 pings at once where 50 a second are allowed',
    profile: 'slowStreams',
    steps: calls(20, PING),
    outcome: { kind: 'served', on: 41 },
  };
  for (const [name, message] of [
    ['pings', PING],
    ['calls', WAIT],
    ['messages of no known type', { type: 'hello' }],
  ] as const) {
    yield {
      name: `400 ${name} at once where 50 a second are allowed`,
      profile: 'slowStreams',
      isPatient: true,
      steps: calls(400, message),
      outcome: overloaded,
    };
  }
  yield {
    name: '400 streams with an end and nothing else, where 50 a second are allowed',
    profile: 'slowStreams',
    isPatient: true,
    steps: ids(400).map((id) => send(id, writeFrame(END, id, Buffer.alloc(0)))),
    outcome: overloaded,
  };
  yield {
    name: '300 calls that are reset as soon as they are made, where 20 a second are allowed',
    profile: 'slowResets',
    steps: [...calls(300, WAIT), ...resets(300)],
    outcome: overloaded,
  };
  yield {
    name: '300 resets of one stream, where 20 a second are allowed',
    profile: 'slowResets',
    steps: [
      send(3, frameOf(3, WAIT)),
      { do: 'pause' },
      ...Array.from({ length: 300 }, () => resets(1)[0] as Step),
    ],
    outcome: overloaded,
  };
  yield {
    name: '300 RESET_STREAM, where 20 a second are allowed',
    profile: 'slowResets',
    transports: ['quic'],
    steps: [
      ...ids(300).map((id) => send(id, frameOf(id, WAIT, PLAIN), false)),
      ...ids(300).map((id): Step => ({ do: 'shut', on: id, side: 'sending', code: 0x80 })),
    ],
    outcome: overloaded,
  };
  yield {
    name: '80 streams open at once, where 64 are allowed',
    profile: 'fewStreams',
    transports: ['tcp'],
    steps: ids(80).map((id) => send(id, frameOf(id, WAIT, PLAIN))),
    outcome: { kind: 'closed', code: 'StreamLimitExceeded' },
  };
  yield {
    name: '2,000 pings',
    steps: calls(2000, PING),
    outcome: { kind: 'served', on: 4001 },
  };
}

function* handlers(): Generator<Case> {
  yield {
    name: 'a third call where two are handled at once',
    profile: 'fewCalls',
    steps: [...calls(2, WAIT), { do: 'pause' }, send(7, frameOf(7, WAIT))],
    outcome: { kind: 'refused', code: 'Overloaded', on: 7 },
  };
  yield {
    name: 'a hundred calls where two are handled at once',
    profile: 'fewCalls',
    steps: [...calls(2, WAIT), { do: 'pause' }, ...calls(100, WAIT).slice(2)],
    outcome: { kind: 'refused', code: 'Overloaded', on: 201 },
  };
  yield {
    name: 'calls that are given up at once, where two are handled: their places come back',
    profile: 'fewCalls',
    steps: [
      ...calls(2, WAIT),
      { do: 'pause' },
      ...resets(2),
      { do: 'pause' },
      send(7, frameOf(7, { type: 'request', method: 'echo' })),
    ],
    outcome: { kind: 'served', on: 7 },
  };
}

function* connections(): Generator<Case> {
  for (const [profile, why] of [
    ['oneConnection', 'of which a peer may have one'],
    ['full', 'where the node takes three'],
  ] as const) {
    yield {
      name: `another connection, ${why}`,
      profile,
      begin: 'secured',
      steps: [
        run(async ({ dial }) => void (await dial({ begin: 'shaken' }))),
        { do: 'shake', changes: {} },
      ],
      outcome: full,
    };
    yield {
      name: `ten connections more, ${why}`,
      profile,
      begin: 'secured',
      steps: [
        run(async ({ dial }) => {
          await dial({ begin: 'shaken' });
          for (let i = 0; i < 10; i += 1) {
            const client = await dial({ begin: 'secured' });
            client.shake('n4');
            await until(() => client.isOver);
          }
        }),
        { do: 'shake', changes: {} },
      ],
      outcome: full,
    };
  }
  yield {
    name: '20 connections that never shake hands',
    profile: 'hasty',
    begin: 'secured',
    steps: [
      run(async ({ dial }) => {
        for (let i = 0; i < 20; i += 1) await dial({ begin: 'secured' });
      }),
    ],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  };
  yield {
    name: '30 connections one after the other, each closed at once',
    steps: [
      run(async ({ dial }) => {
        for (let i = 0; i < 30; i += 1) (await dial({ begin: 'shaken' })).hangUp();
      }),
    ],
    outcome: { kind: 'dropped' },
    counter: 'handshakes.accepted',
  };
}

/** Nobody gets past admission: 127.0.0.5 is not where the witnesses are. */
function* admissions(): Generator<Case> {
  yield {
    name: '20 sockets that say nothing, of a source that may have four',
    transports: ['tcp'],
    profile: 'narrowAdmission',
    begin: 'stray',
    steps: [
      run(async ({ subject }) => {
        const before = subject.count('transports.tcp.halfOpenDropped');
        const strangers: TcpStranger[] = [];
        for (let i = 0; i < 20; i += 1) strangers.push(await TcpStranger.dial(subject.address));
        await until(() => subject.count('transports.tcp.halfOpenDropped') >= before + 16);
        for (const stranger of strangers) stranger.hangUp();
      }),
    ],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.halfOpenDropped',
  };
  yield {
    name: 'another socket of a source that may have four, of which TLS is done and the handshake is not',
    transports: ['tcp'],
    profile: 'narrowAdmission',
    begin: 'secured',
    steps: [
      run(async ({ subject, client, dial }) => {
        const before = subject.count('transports.tcp.halfOpenDropped');
        for (let i = 0; i < 3; i += 1) await dial({ begin: 'secured' });
        const fifth = await TcpStranger.dial(subject.address);
        await until(() => subject.count('transports.tcp.halfOpenDropped') > before);
        fifth.hangUp();
        client.hangUp();
      }),
    ],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.halfOpenDropped',
  };
  yield {
    name: '20 first flights of a source that may have four: from half of them on, a token is due',
    transports: ['quic'],
    profile: 'narrowAdmission',
    begin: 'stray',
    steps: [
      run(async ({ subject }) => {
        const before = subject.count('transports.quic.retriesSent');
        const flood = await UdpStranger.at('127.0.0.5', subject.address);
        for (let i = 0; i < 20; i += 1) flood.send(0, forger.initial());
        await until(() => subject.count('transports.quic.retriesSent') >= before + 18);
        flood.hangUp();
      }),
    ],
    outcome: { kind: 'dropped' },
    counter: 'transports.quic.retriesSent',
  };
  yield {
    name: '100 datagrams of CRYPTO frames far apart, of one client',
    transports: ['quic'],
    profile: 'narrowAdmission',
    begin: 'stray',
    steps: [
      run(async ({ subject }) => {
        const flood = await UdpStranger.at('127.0.0.6', subject.address);
        const originalId = Buffer.from('c0ffeec0ffeec0ff', 'hex');
        for (let packetNumber = 0; packetNumber < 100; packetNumber += 1) {
          // CRYPTO, an offset in two bytes, one byte of data.
          const payload = Buffer.from('0640000178', 'hex');
          payload.writeUInt16BE(0x4000 | (2000 + 10 * packetNumber), 1);
          flood.send(0, forger.initial({ originalId, packetNumber, payload }));
        }
        await until(() => subject.count('transports.quic.droppedHalfOpenExcess') > 0);
        flood.hangUp();
      }),
    ],
    outcome: { kind: 'dropped' },
    counter: 'transports.quic.droppedHalfOpenExcess',
  };
}

export const rates: Family = {
  name: 'rates',
  cases: [...streams(), ...handlers(), ...connections(), ...admissions()],
};
