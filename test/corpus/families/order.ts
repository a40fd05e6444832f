/** Sound frames where they do not belong: before the handshake, twice, after the end, after going away. */
import { TYPES } from '../../protocol/naive/message.js';
import { samples } from '../../protocol/samples.js';
import { END, frameOf, MORE, PLAIN, RESET, uint, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome, Step } from '../case.js';

const violation: Outcome = { kind: 'closed', code: 'ProtocolViolation' };
const repeated: Outcome = { kind: 'closed', code: 'HandshakeRepeated' };
const unexpected: Outcome = { kind: 'refused', code: 'UnexpectedMessage' };
const nothing = { outcome: { kind: 'dropped' }, counter: null } as const;

const WAIT = { type: 'request', method: 'wait' };
const PING = { type: 'ping' };
const EMPTY_END = (id: number) => writeFrame(END, id, Buffer.alloc(0));

const send = (to: number, bytes: Uint8Array, fin = false): Step => ({ do: 'send', to, bytes, fin });
const control = (bytes: Uint8Array, fin = false): Step => ({
  do: 'send',
  to: 'control',
  bytes,
  fin,
});
const chunk = (id: number, offset: number, data: number, flags = PLAIN) =>
  frameOf(id, { type: 'dataTransfer', transferId: 't', offset, data: Buffer.alloc(data) }, flags);

function* beforeTheHandshake(): Generator<Case> {
  const secured = { begin: 'secured' } as const;
  for (const type of TYPES) {
    if (type === 'handshakeRequest') continue;
    yield {
      ...secured,
      name: `a ${type} in place of the handshake`,
      steps: [send(1, frameOf(1, samples[type as keyof typeof samples]), true)],
      outcome: { kind: 'closed', code: 'HandshakeRequired' },
    };
  }
  yield {
    ...secured,
    name: 'a message of no known type in place of the handshake',
    steps: [send(1, frameOf(1, { type: 'hello' }), true)],
    outcome: { kind: 'closed', code: 'UnknownMessageType' },
  };
  yield {
    ...secured,
    name: 'a payload that is no CBOR in place of the handshake',
    steps: [send(1, writeFrame(END, 1, Buffer.of(0xff)), true)],
    outcome: { kind: 'closed', code: 'MalformedMessage' },
  };
  yield {
    ...secured,
    profile: 'hasty',
    name: 'nothing at all',
    steps: [],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  };
  yield {
    ...secured,
    profile: 'hasty',
    name: 'an empty end in place of the handshake',
    steps: [send(1, EMPTY_END(1), true)],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  };
  yield {
    ...secured,
    profile: 'hasty',
    transports: ['quic'],
    name: 'a call, and no handshake',
    steps: [send(3, frameOf(3, PING), true)],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  };
  yield {
    ...secured,
    transports: ['tcp'],
    name: 'a call ahead of the handshake',
    steps: [send(3, frameOf(3, PING))],
    outcome: violation,
  };
  yield {
    ...secured,
    name: 'a compressed frame in place of the handshake',
    steps: [send(1, writeFrame(END | 0x10, 1, Buffer.alloc(8)), true)],
    outcome: { kind: 'closed', code: 'UnsupportedCompression' },
  };
  yield {
    ...secured,
    name: 'calls right behind the handshake',
    steps: [
      { do: 'shake', changes: {} },
      send(3, frameOf(3, PING), true),
      send(5, frameOf(5, PING), true),
    ],
    outcome: { kind: 'served', on: 5 },
  };
  yield {
    ...secured,
    name: 'a call that breaks a rule, right behind the handshake',
    steps: [{ do: 'shake', changes: {} }, send(3, writeFrame(END | 0x1000, 3, Buffer.alloc(1)))],
    outcome: violation,
    counter: null,
  };
  yield {
    ...secured,
    transports: ['quic'],
    name: 'a call ahead of the handshake, on a later stream',
    steps: [send(3, frameOf(3, PING), true), { do: 'pause' }, { do: 'shake', changes: {} }],
    outcome: { kind: 'served' },
  };
}

/** On TCP the first stream has to be the handshake's: this one never becomes whole. */
const BEGUN = send(1, writeFrame(MORE, 1, Buffer.alloc(10)));

function* hoards(): Generator<Case> {
  const large = Buffer.alloc(100_000);
  for (const transport of ['quic', 'tcp'] as const) {
    const begun = transport === 'tcp' ? [BEGUN] : [];
    yield {
      begin: 'secured',
      transports: [transport],
      name: '300 KB on streams of calls, and no handshake',
      steps: [...begun, ...[3, 5, 7].map((id) => send(id, writeFrame(PLAIN, id, large)))],
      outcome: { kind: 'closed', code: 'Overloaded' },
    };
    yield {
      begin: 'secured',
      transports: [transport],
      name: '70 streams, and no handshake',
      steps: [
        ...begun,
        ...Array.from({ length: 70 }, (_, i) => send(3 + 2 * i, frameOf(3 + 2 * i, PING))),
      ],
      outcome: { kind: 'closed', code: 'StreamLimitExceeded' },
    };
  }
  yield {
    begin: 'secured',
    name: 'a handshake of 200 KB',
    steps: [send(1, writeFrame(PLAIN, 1, Buffer.alloc(200_000)))],
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
}

function* handshakes(): Generator<Case> {
  yield {
    name: 'a second handshake on a stream of its own',
    steps: [send(3, frameOf(3, samples.handshakeRequest), true)],
    outcome: repeated,
  };
  yield {
    name: 'an answer to a handshake that nobody asked for',
    steps: [send(3, frameOf(3, samples.handshakeResponse), true)],
    outcome: repeated,
  };
  for (const [type, outcome] of [
    ['handshakeRequest', repeated],
    ['ping', repeated],
  ] as const) {
    yield {
      name: `a ${type} behind the handshake, on its stream`,
      begin: 'secured',
      steps: [
        { do: 'shake', changes: { withoutEnd: true } },
        { do: 'hear', on: 1 },
        send(1, frameOf(1, samples[type]), true),
      ],
      outcome,
      counter: 'handshakes.accepted',
    };
  }
}

function* calls(): Generator<Case> {
  yield {
    name: 'an end, and no message before it',
    steps: [send(3, EMPTY_END(3), true)],
    outcome: unexpected,
  };
  yield {
    name: 'a second message on a call that is served',
    steps: [send(3, frameOf(3, WAIT, PLAIN)), { do: 'pause' }, send(3, frameOf(3, WAIT), true)],
    outcome: unexpected,
  };
  yield {
    name: 'a frame behind the end, at once',
    steps: [send(3, Buffer.concat([frameOf(3, WAIT), frameOf(3, PING)]))],
    outcome: violation,
  };
  yield {
    name: 'a frame behind the end, later',
    steps: [send(3, frameOf(3, WAIT)), { do: 'pause' }, send(3, frameOf(3, PING))],
    outcome: violation,
  };
  yield {
    name: 'a byte behind the end, later',
    transports: ['quic'],
    steps: [send(3, frameOf(3, WAIT)), { do: 'pause' }, send(3, Buffer.of(0), true)],
    outcome: violation,
  };
  yield {
    name: 'an empty end behind the end',
    steps: [send(3, frameOf(3, WAIT)), { do: 'pause' }, send(3, EMPTY_END(3))],
    outcome: violation,
  };
  yield {
    name: 'a transfer that leaves out a byte',
    steps: [send(3, chunk(3, 0, 10)), send(3, chunk(3, 11, 10, END), true)],
    outcome: unexpected,
  };
  yield {
    name: 'a transfer that goes back',
    steps: [send(3, chunk(3, 100, 10)), send(3, chunk(3, 0, 10, END), true)],
    outcome: unexpected,
  };
  const transfer = (fields: object, flags = PLAIN) =>
    frameOf(3, { type: 'dataTransfer', transferId: 't', ...fields }, flags);
  const wrong: readonly [string, 'ChecksumMismatch' | 'UnexpectedMessage', readonly Buffer[]][] = [
    [
      'with a wrong checksum',
      'ChecksumMismatch',
      [chunk(3, 0, 10), transfer({ offset: 10, checksum: 1 }, END)],
    ],
    [
      'with data behind its checksum',
      'UnexpectedMessage',
      // CRC-32 of ten zeros.
      [chunk(3, 0, 10), transfer({ offset: 10, checksum: 0xe38a6876 }), chunk(3, 10, 10, END)],
    ],
    [
      'with a checksum of more than 32 bits',
      'UnexpectedMessage',
      [transfer({ offset: 5, priorChecksum: 2 ** 32 }, END)],
    ],
    [
      'to be resumed whose first message has data',
      'UnexpectedMessage',
      [transfer({ offset: 0, resume: true, data: Buffer.alloc(1) }, END)],
    ],
  ];
  for (const [what, code, sent] of wrong) {
    yield {
      name: `a transfer ${what}`,
      steps: sent.map((bytes, i) => send(3, bytes, i === sent.length - 1)),
      outcome: { kind: 'refused', code },
    };
  }
  for (const type of ['ping', 'request', 'response', 'queryRequest', 'consensus'] as const) {
    yield {
      name: `a ${type} within a transfer`,
      steps: [send(3, chunk(3, 0, 10)), send(3, frameOf(3, samples[type]), true)],
      outcome: unexpected,
    };
  }
  yield {
    name: 'a transfer that the peer gives up',
    transports: ['quic'],
    steps: [send(3, chunk(3, 0, 10)), { do: 'pause' }, send(3, Buffer.of(0), true)],
    ...nothing,
  };
}

/** The node has asked on 2, and gets what is no answer. */
function* answers(): Generator<Case> {
  for (const type of TYPES) {
    if (['response', 'error'].includes(type)) continue;
    yield {
      name: `a ${type} in answer to a request`,
      steps: [send(2, frameOf(2, samples[type as keyof typeof samples], PLAIN))],
      outcome: { kind: 'refused', code: 'UnexpectedMessage', on: 2 },
      counter: null,
      answer: 'UnexpectedMessage',
    };
  }
  yield {
    name: 'an answer that is no CBOR',
    steps: [send(2, writeFrame(PLAIN, 2, Buffer.of(0xff)))],
    outcome: { kind: 'refused', code: 'MalformedMessage', on: 2 },
    counter: null,
    answer: 'MalformedMessage',
  };
  yield {
    name: 'an end, and no answer before it',
    steps: [send(2, EMPTY_END(2), true)],
    ...nothing,
    answer: 'UnexpectedMessage',
  };
  yield {
    name: 'an answer to a call that was never made',
    transports: ['tcp'],
    steps: [send(4, frameOf(4, { type: 'response' }))],
    outcome: violation,
  };
  yield {
    name: 'an error with a code that never travels',
    steps: [send(2, frameOf(2, { type: 'error', code: 'NodeClosed', text: '' }), true)],
    ...nothing,
    answer: 'HandlerFailed',
  };
  yield {
    name: 'an error with a code that nobody knows',
    steps: [send(2, frameOf(2, { type: 'error', code: 'constructor', text: '' }), true)],
    ...nothing,
    answer: 'HandlerFailed',
  };
}

function* goingAway(): Generator<Case> {
  const goAway = (streams: number) => control(writeFrame(END, 0, uint(8, streams)));
  const allOver = control(EMPTY_END(0));
  yield {
    name: 'going away twice',
    steps: [goAway(1), goAway(1)],
    outcome: violation,
  };
  yield {
    name: 'going away after fewer streams than were opened',
    steps: [send(3, frameOf(3, PING), true), { do: 'hear', on: 3 }, goAway(1)],
    outcome: violation,
  };
  yield {
    name: 'going away after more streams than were opened',
    transports: ['tcp'],
    steps: [goAway(2)],
    outcome: violation,
  };
  yield {
    name: 'a stream after going away',
    steps: [goAway(1), { do: 'pause' }, send(3, frameOf(3, PING), true)],
    outcome: violation,
  };
  yield {
    name: 'the end of all streams ahead of going away',
    steps: [allOver],
    outcome: violation,
  };
  yield {
    name: 'the end of all streams twice',
    steps: [goAway(1), { do: 'pause' }, allOver, allOver],
    outcome: violation,
  };
  for (const bytes of [1, 4, 7, 9, 64]) {
    yield {
      name: `going away in ${bytes} bytes`,
      steps: [control(writeFrame(END, 0, Buffer.alloc(bytes)))],
      outcome: violation,
    };
  }
}

function* controlStream(): Generator<Case> {
  const quic = { transports: ['quic'] } as const;
  for (const [name, bytes] of [
    ['a message', frameOf(3, PING)],
    ['a message on 1', frameOf(1, PING, PLAIN)],
    ['a close', writeFrame(RESET, 0, uint(4, 0))],
    ['a credit', writeFrame(0x0481, 3, uint(4, 1))],
    ['an end of a stream', EMPTY_END(3)],
    ['a reset of 3 bytes', writeFrame(RESET, 3, Buffer.alloc(3))],
    ['a proof of 15 bytes', writeFrame(PLAIN, 1, Buffer.alloc(15))],
    ['a proof on 3', writeFrame(PLAIN, 3, Buffer.alloc(16))],
  ] as const) {
    yield {
      ...quic,
      name: `${name} on the control stream`,
      steps: [control(bytes)],
      outcome: violation,
    };
  }
  yield {
    ...quic,
    name: 'a reset with a reason of 257 bytes on the control stream',
    steps: [control(writeFrame(RESET, 3, Buffer.alloc(261)))],
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
  yield {
    ...quic,
    name: 'the end of the control stream',
    steps: [control(writeFrame(RESET, 3, uint(4, 0x80)), true)],
    outcome: violation,
  };
  yield {
    ...quic,
    name: 'half a frame on the control stream, and silence',
    steps: [control(writeFrame(RESET, 3, uint(4, 0x80)).subarray(0, 9))],
    ...nothing,
  };
  yield {
    ...quic,
    name: 'a proof that nobody asked for',
    steps: [control(writeFrame(PLAIN, 2, Buffer.alloc(16)))],
    ...nothing,
  };
  yield {
    ...quic,
    name: 'notices of 2,000 streams that never come',
    steps: Array.from({ length: 2000 }, (_, i) =>
      control(writeFrame(RESET, 2 * i + 10_001, uint(4, 0x80))),
    ),
    ...nothing,
  };
  yield {
    ...quic,
    name: 'a notice with a code that nobody knows, of a call that is served',
    steps: [
      send(3, frameOf(3, WAIT)),
      { do: 'pause' },
      control(writeFrame(RESET, 3, uint(4, 0xdead))),
    ],
    ...nothing,
  };
  for (const code of [0x80, 0xf2, 0xdead, 0]) {
    for (const side of ['sending', 'receiving'] as const) {
      yield {
        ...quic,
        name: `${side === 'sending' ? 'RESET_STREAM' : 'STOP_SENDING'} with 0x${code.toString(16)}, of a call that is served`,
        steps: [
          send(3, frameOf(3, WAIT, PLAIN)),
          { do: 'pause' },
          { do: 'shut', on: 3, side, code },
        ],
        ...nothing,
      };
    }
  }
  yield {
    ...quic,
    name: 'FIN, and no byte before it',
    steps: [send(3, Buffer.alloc(0), true)],
    ...nothing,
  };
}

function* closes(): Generator<Case> {
  const tcp = { transports: ['tcp'] } as const;
  for (const code of [0, 0x0e, 0x80, 0xf2, 0xffff_ffff]) {
    yield {
      ...tcp,
      name: `a close with 0x${code.toString(16)}, and frames behind it`,
      steps: [
        send(0, writeFrame(RESET, 0, uint(4, code))),
        send(0, Buffer.alloc(1000, 0xff)),
        { do: 'run', program: async ({ client }) => client.hangUp() },
      ],
      ...nothing,
    };
  }
  yield {
    ...tcp,
    name: 'a close whose reason is not UTF-8',
    steps: [
      send(0, writeFrame(RESET, 0, Buffer.from('00000000fffefd80', 'hex'))),
      { do: 'hangUp' },
    ],
    ...nothing,
  };
}

export const order: Family = {
  name: 'order',
  cases: [
    ...beforeTheHandshake(),
    ...hoards(),
    ...handshakes(),
    ...calls(),
    ...answers(),
    ...goingAway(),
    ...controlStream(),
    ...closes(),
  ],
};
