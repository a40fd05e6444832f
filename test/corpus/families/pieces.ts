/** Messages in pieces (SPEC.md, "Pieces"), and credit: what only TCP has. */
import { CREDIT, END, frameOf, MORE, PLAIN, payloadOf, RESET, uint, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome, Step } from '../case.js';
import { until } from '../wait.js';

const MIB = 1024 * 1024;
const PING = payloadOf({ type: 'ping' });
const LZ4 = 0x0010;
const violation: Outcome = { kind: 'closed', code: 'ProtocolViolation' };

const send = (id: number, bytes: Uint8Array): Step => ({ do: 'send', to: id, bytes });
const piece = (id: number, payload: Uint8Array, flags = MORE) =>
  send(id, writeFrame(flags, id, payload));

function* cases(): Generator<Omit<Case, 'transports'>> {
  for (let at = 1; at < PING.length; at += 1) {
    yield {
      name: `a ping in two pieces, of which the first has ${at} bytes`,
      steps: [piece(3, PING.subarray(0, at)), piece(3, PING.subarray(at), END)],
      outcome: { kind: 'served' },
    };
  }
  yield {
    name: 'a ping in pieces of one byte, with pings of others between them',
    steps: [...PING].flatMap((byte, i) => [
      piece(3, Buffer.of(byte), i === PING.length - 1 ? END : MORE),
      send(5 + 2 * i, frameOf(5 + 2 * i, { type: 'ping' })),
    ]),
    outcome: { kind: 'served' },
  };
  yield {
    name: 'four pings in pieces at a time',
    steps: [
      ...[3, 5, 7, 9].map((id) => piece(id, PING.subarray(0, 3))),
      ...[9, 7, 5, 3].map((id) => piece(id, PING.subarray(3), END)),
    ],
    outcome: { kind: 'served' },
  };
  yield {
    name: 'a fifth message in pieces at a time',
    steps: [3, 5, 7, 9, 11].map((id) => piece(id, PING.subarray(0, 3))),
    outcome: violation,
  };
  yield {
    name: 'an empty end in place of the next piece',
    steps: [piece(3, PING), piece(3, Buffer.alloc(0), END)],
    outcome: violation,
  };
  yield {
    name: 'pieces of which the second is compressed',
    steps: [piece(3, PING), piece(3, PING, END | LZ4)],
    outcome: violation,
  };
  yield {
    name: 'pieces of which the second is not compressed',
    steps: [piece(3, PING, MORE | LZ4), piece(3, PING, END)],
    outcome: violation,
  };
  yield {
    name: 'pieces of which the last has a wrong checksum',
    steps: [
      piece(3, PING),
      send(3, Buffer.concat([writeFrame(END, 3, PING).subarray(0, -4), uint(4, 1)])),
    ],
    outcome: { kind: 'closed', code: 'ChecksumMismatch' },
  };
  yield {
    name: 'pieces that together are one byte above the limit',
    capabilities: { maxMessageBytes: 4096 },
    steps: [piece(3, Buffer.alloc(4000)), piece(3, Buffer.alloc(97), END)],
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
  yield {
    name: 'pieces without end',
    capabilities: { maxMessageBytes: MIB },
    steps: Array.from({ length: 1025 }, () => piece(3, Buffer.alloc(1024))),
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
  yield {
    name: 'a piece, and a reset of its stream',
    steps: [piece(3, PING), send(3, writeFrame(RESET, 3, uint(4, 0x80)))],
    outcome: { kind: 'dropped' },
    counter: null,
  };
  yield {
    name: 'a message that is whole and no message, in two pieces',
    steps: [piece(3, Buffer.of(0xff)), piece(3, Buffer.of(0xff), END)],
    outcome: { kind: 'refused', code: 'MalformedMessage' },
  };
  yield {
    name: 'a piece of the handshake, and no more',
    profile: 'hasty',
    begin: 'secured',
    steps: [piece(1, PING)],
    outcome: { kind: 'closed', code: 'HandshakeTimeout' },
  };
  yield {
    name: 'a credit of 2^32-1 bytes for a stream, a thousand times',
    steps: [
      send(3, frameOf(3, { type: 'request', method: 'wait' }, PLAIN)),
      ...Array.from({ length: 1000 }, () => send(3, writeFrame(CREDIT, 3, uint(4, 0xffff_ffff)))),
    ],
    outcome: { kind: 'dropped' },
    counter: null,
  };
  yield {
    name: 'a credit for a stream that was not opened',
    steps: [send(3, writeFrame(CREDIT, 3, uint(4, 1)))],
    outcome: violation,
  };
  yield {
    name: 'a reset of a stream that was not opened',
    steps: [send(3, writeFrame(RESET, 3, uint(4, 0x80)))],
    outcome: violation,
  };
  yield {
    name: "a credit for a stream of the node's that it did not open",
    steps: [send(4, writeFrame(CREDIT, 4, uint(4, 1)))],
    outcome: violation,
  };
  yield {
    name: 'a credit for a stream that is over',
    steps: [send(1, writeFrame(CREDIT, 1, uint(4, 1)))],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.lateFrames',
  };
  yield {
    name: 'a reset of a stream that is over',
    steps: [send(1, writeFrame(RESET, 1, uint(4, 0x80)))],
    outcome: { kind: 'dropped' },
    counter: 'transports.tcp.lateFrames',
  };
  yield {
    name: 'more on a stream than it has credit for, while nobody reads it',
    steps: [unread(3, 0), unread(3, 1), unread(3, 2)],
    outcome: { kind: 'closed', code: 'FlowControlViolation' },
  };
  yield {
    name: 'more for streams that nobody reads than the node keeps: those that wait the longest are given up',
    steps: [
      {
        do: 'run',
        program: async ({ client }) => {
          for (let id = 3; id <= 21; id += 2) {
            for (const step of [unread(id, 0), unread(id, 1)]) client.send(id, step.bytes);
          }
          await until(() => client.resets.size > 0 || client.isOver);
        },
      },
    ],
    outcome: { kind: 'refused', code: 'Overloaded' },
    counter: null,
  };
  yield {
    name: 'a frame of 5 MiB before the handshake',
    begin: 'secured',
    steps: [send(3, writeFrame(PLAIN, 3, Buffer.alloc(5 * MIB)))],
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
}

/** So many times four MiB were sent before of a transfer that nobody reads. */
function unread(id: number, sent: number): { do: 'send'; to: number; bytes: Buffer } {
  const data = Buffer.alloc(4 * MIB);
  const message = { type: 'dataTransfer', transferId: 'unread', offset: sent * 4 * MIB, data };
  return { do: 'send', to: id, bytes: frameOf(id, message, PLAIN) };
}

export const pieces: Family = {
  name: 'pieces and credit',
  cases: [...cases()].map((each): Case => ({ transports: ['tcp'], ...each })),
};
