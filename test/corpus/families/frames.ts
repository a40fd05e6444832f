/** Headers, lengths, flags and checksums. */
import { readFrameVectors } from '../../protocol/vectors.js';
import { END, frameOf, MORE, PLAIN, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome } from '../case.js';

/** The smallest call there is. */
const PING = frameOf(3, { type: 'ping' });
const MIB = 1024 * 1024;

function* cuts(): Generator<Case> {
  for (let at = 1; at < PING.length; at += 1) {
    const first = { do: 'send', to: 3, bytes: PING.subarray(0, at) } as const;
    const rest = { do: 'send', to: 3, bytes: PING.subarray(at), fin: true } as const;
    yield {
      name: `a ping cut after ${at} bytes, silence, then the rest`,
      steps: [first, { do: 'pause' }, rest],
      outcome: { kind: 'served' },
    };
    yield {
      name: `a ping cut after ${at} bytes, then the connection ends`,
      steps: [first, { do: 'pause' }, { do: 'hangUp' }],
      outcome: { kind: 'dropped' },
      counter: null,
    };
    yield {
      name: `a ping cut after ${at} bytes, then FIN`,
      transports: ['quic'],
      steps: [{ ...first, fin: true }],
      outcome: { kind: 'dropped' },
      counter: null,
    };
  }
  for (let at = 0; at < PING.length; at += 4) {
    yield {
      name: `${at} bytes of a frame and no more, before the handshake`,
      profile: 'hasty',
      begin: 'secured',
      steps: at === 0 ? [] : [{ do: 'send', to: 1, bytes: PING.subarray(0, at) }],
      outcome: { kind: 'closed', code: 'HandshakeTimeout' },
    };
  }
}

/** What a single wrong bit comes to: a rule of the header where there is one, else the checksum. */
function outcomeOfFlip(byte: number, bit: number): Outcome {
  const closed = (code: Extract<Outcome, { kind: 'closed' }>['code']): Outcome => ({
    kind: 'closed',
    code,
  });
  // The length: 15 with its lowest four bits set. More bytes than there are, are waited for.
  if (byte === 0) return closed('FrameTooLarge');
  if (byte < 3 || (byte === 3 && bit >= 4)) return { kind: 'dropped' };
  if (byte === 3) return closed('ChecksumMismatch');
  // Flags, high byte: reserved, more, credit and reset beside end; without end the frame is another.
  if (byte === 4) return closed(bit === 0 ? 'ChecksumMismatch' : 'ProtocolViolation');
  if (byte === 5 && bit === 7) return closed('ProtocolViolation');
  if (byte === 5 && bit === 6) return closed('UnsupportedCompression');
  if (byte === 5) return closed(bit >= 4 ? 'ChecksumMismatch' : 'VersionUnsupported');
  // Message ids from 2^53 on.
  if (byte === 6 || (byte === 7 && bit >= 5)) return closed('ProtocolViolation');
  return closed('ChecksumMismatch');
}

function* flips(): Generator<Case> {
  for (let byte = 0; byte < PING.length; byte += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const bytes = Buffer.from(PING);
      bytes.writeUInt8(bytes.readUInt8(byte) ^ (1 << bit), byte);
      const outcome = outcomeOfFlip(byte, bit);
      const waits = outcome.kind === 'dropped';
      yield {
        name: `a ping with bit ${bit} of byte ${byte} flipped`,
        steps: [
          { do: 'send', to: 3, bytes },
          ...(waits ? ([{ do: 'pause' }, { do: 'hangUp' }] as const) : []),
        ],
        outcome,
        ...(waits ? { counter: null } : {}),
      };
    }
  }
}

/** The test vectors, where the handshake can agree on what they take for agreed. */
function* vectors(): Generator<Case> {
  for (const { name, hex, options = {}, expect } of readFrameVectors('refused-frames.json')
    .vectors) {
    const { maxMessageBytes, requireChecksum = true, compressions } = options;
    if (maxMessageBytes !== undefined || !('error' in expect)) continue;
    yield {
      name,
      profile: requireChecksum ? 'plain' : 'noChecksum',
      capabilities: {
        checksum: requireChecksum,
        ...(compressions === undefined ? {} : { compressions }),
      },
      steps: [{ do: 'send', to: 3, bytes: Buffer.from(hex, 'hex') }],
      outcome: { kind: 'closed', code: expect.error },
    };
  }
}

const violation: Outcome = { kind: 'closed', code: 'ProtocolViolation' };

function* lengths(): Generator<Case> {
  const header = (payloadBytes: number, flags = PLAIN) =>
    writeFrame(flags, 3, Buffer.alloc(payloadBytes)).subarray(0, 14);
  const tooLarge: Outcome = { kind: 'closed', code: 'FrameTooLarge' };
  for (const agreed of [4096, 128 * 1024, MIB]) {
    yield {
      name: `a header for one byte more than the ${agreed} that were agreed`,
      capabilities: { maxMessageBytes: agreed },
      steps: [{ do: 'send', to: 3, bytes: header(agreed + 1) }],
      outcome: tooLarge,
    };
    yield {
      name: `a payload of the ${agreed} bytes that were agreed, all zero`,
      capabilities: { maxMessageBytes: agreed },
      steps: [{ do: 'send', to: 3, bytes: writeFrame(END, 3, Buffer.alloc(agreed)), fin: true }],
      outcome: { kind: 'refused', code: 'MalformedMessage' },
    };
  }
  yield {
    name: "a header for one byte more than the node's own limit",
    profile: 'small',
    steps: [{ do: 'send', to: 3, bytes: header(128 * 1024 + 1) }],
    outcome: tooLarge,
  };
  yield {
    name: "a header for one byte more than the node's own limit, before the handshake",
    profile: 'small',
    begin: 'secured',
    steps: [
      {
        do: 'send',
        to: 1,
        bytes: writeFrame(PLAIN, 1, Buffer.alloc(128 * 1024 + 1)).subarray(0, 14),
      },
    ],
    outcome: tooLarge,
  };
}

function* ids(): Generator<Case> {
  const ping = (id: number) => frameOf(id, { type: 'ping' });
  for (const id of [0, 1, 2, 5, 4, 2 ** 32 + 3, 2 ** 53 - 1]) {
    yield {
      name: `message id ${id} on the stream of 3`,
      transports: ['quic'],
      steps: [{ do: 'send', to: 3, bytes: ping(id), fin: true }],
      outcome: violation,
    };
  }
  for (const id of [0, 4, 5, 7, 6, 2 ** 32 + 3, 2 ** 53 - 1]) {
    yield {
      name: `message id ${id} where 3 is the next`,
      transports: ['tcp'],
      steps: [{ do: 'send', to: 3, bytes: ping(id) }],
      outcome: violation,
    };
  }
  yield {
    name: 'a call on message id 1, whose stream is over',
    transports: ['tcp'],
    steps: [{ do: 'send', to: 1, bytes: ping(1) }],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.lateFrames',
  };
  yield {
    name: 'two calls of which the second has the id of the first',
    transports: ['tcp'],
    steps: [
      { do: 'send', to: 3, bytes: ping(3) },
      { do: 'hear', on: 3 },
      { do: 'send', to: 3, bytes: ping(3) },
    ],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.lateFrames',
  };
}

const odd: readonly Case[] = [
  {
    name: 'a ping byte by byte',
    steps: [{ do: 'send', to: 3, bytes: PING, fin: true, byteByByte: true }],
    outcome: { kind: 'served' },
  },
  {
    name: 'a ping, one byte a second',
    steps: [{ do: 'send', to: 3, bytes: PING, fin: true, byteByByte: true, everyMs: 1000 }],
    outcome: { kind: 'served' },
  },
  {
    name: 'one byte a second, before the handshake',
    profile: 'hasty',
    begin: 'secured',
    steps: [{ do: 'send', to: 1, bytes: PING, byteByByte: true, everyMs: 1000 }],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  },
  {
    name: 'a ping whose end comes in a frame of its own',
    steps: [
      { do: 'send', to: 3, bytes: frameOf(3, { type: 'ping' }, PLAIN) },
      { do: 'hear', on: 3 },
      { do: 'send', to: 3, bytes: writeFrame(END, 3, Buffer.alloc(0)), fin: true },
    ],
    outcome: { kind: 'served' },
  },
  {
    name: 'the more bit',
    transports: ['quic'],
    steps: [{ do: 'send', to: 3, bytes: frameOf(3, { type: 'ping' }, MORE) }],
    outcome: violation,
  },
  {
    name: 'an HTTP request for a frame',
    steps: [{ do: 'send', to: 3, bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n') }],
    outcome: { kind: 'closed', code: 'VersionUnsupported' },
  },
  {
    name: 'an HTTP request for a handshake',
    begin: 'secured',
    steps: [{ do: 'send', to: 1, bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n') }],
    outcome: { kind: 'closed', code: 'VersionUnsupported' },
  },
  {
    name: '64 bytes of zeros for a frame',
    steps: [{ do: 'send', to: 3, bytes: Buffer.alloc(64) }],
    outcome: { kind: 'closed', code: 'VersionUnsupported' },
  },
  {
    name: '64 bytes of ones for a frame',
    steps: [{ do: 'send', to: 3, bytes: Buffer.alloc(64, 0xff) }],
    outcome: { kind: 'closed', code: 'VersionUnsupported' },
  },
];

export const frames: Family = {
  name: 'frames',
  cases: [...cuts(), ...flips(), ...vectors(), ...lengths(), ...ids(), ...odd],
};
