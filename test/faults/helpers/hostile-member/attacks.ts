/** What a compromised member does to one node, by name. */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeReset } from '../../../../src/protocol/control.js';
import { FrameFlag } from '../../../../src/protocol/frame.js';
import type { Message } from '../../../../src/protocol/message.js';
import { END, uint, writeFrame } from '../../../corpus/bytes.js';
import type { HostileClient } from '../../../corpus/clients/client.js';
import { TcpStranger, UdpStranger } from '../../../corpus/clients/stranger.js';
import { createForger } from '../../../helpers/quic/forger.js';
import type { Target } from '../protocol.js';
import { decompressionBomb, itemBomb } from './bombs.js';
import { frameOf, messageOf } from './frames.js';
import { MEMBER_HOST, type Member, pour } from './member.js';

/** Goes on for a while, against one node. @returns how often it did what it does */
export type Attack = (member: Member, target: Target) => Promise<number>;

const HOLD_MS = 2000;
const PIECE = Buffer.alloc(120_000, 'p');
/** Of the streams that are filled before the handshake. */
const PIECES_PER_STREAM = 8;
const CONNECTIONS_AT_ONCE = 20;
const HALF_OPEN_AT_ONCE = 40;
const UNREAD_CALLS = 300;
const LEFT_STREAMS = 800;
/** The beginning of a ClientHello: a record of 512 bytes, of which 6 come. */
const HELLO_BEGINS = Buffer.from('160301020001', 'hex');
const PART = Buffer.alloc(1000);
const RESET = encodeReset({ code: 'Cancelled', reason: '' });
const VOTE = {
  kind: 'requestVote',
  term: 1,
  candidateId: 'n4',
  lastLogIndex: 1,
  lastLogTerm: 1,
} as const;

/** Makes all attacks, each of which is to run beside all others, again and again. */
export async function makeAttacks(member: Member): Promise<Readonly<Record<string, Attack>>> {
  const forger = await createForger(member.tls);
  const bomb = decompressionBomb();
  const itemBombs = [itemBomb(131_000), itemBomb(1_000_000)];
  return {
    'answers that are not read': (_, target) =>
      member.round(target, (client) => call(client, 'answerLarge'), {
        most: UNREAD_CALLS,
        prepare: (client) => client.stopReading(),
      }),

    'bombs of bytes': (_, target) =>
      member.round(target, (client) => sendFrame(client, bomb, true)),

    'bombs of items': (_, target) =>
      member.round(target, (client, i) => sendFrame(client, itemBombs[i % 2]!, true)),

    'floods of calls': (_, target) =>
      member.round(target, (client, i) => call(client, i < 500 ? 'neverAnswer' : 'answer')),

    'control calls': (_, target) =>
      member.round(target, (client, i) =>
        send(client, i % 2 === 0 ? { type: 'ping' } : { type: 'consensus', body: VOTE }),
      ),

    'streams opened and left': (_, target) =>
      member.round(target, beginMessage, { most: LEFT_STREAMS }),

    'calls that are reset': (_, target) =>
      member.round(target, (client) => {
        const id = call(client, 'neverAnswer');
        reset(client, id);
      }),

    'transfers that are interrupted': (_, target) =>
      member.round(target, (client, i) => {
        const isResumed = i % 2 === 0;
        const id = send(client, transfer(isResumed), { end: false });
        if (i % 4 < 2) reset(client, id);
      }),

    'frames before the handshake': async (_, target) => {
      const client = await member.dial(target);
      // The first piece of a handshake that never ends.
      client.send(1, frameOf(1, Buffer.alloc(10), { control: FrameFlag.more }));
      return pour(client, (_client, i) => {
        const id = 3 + 2 * Math.floor(i / PIECES_PER_STREAM);
        client.send(id, frameOf(id, PIECE));
      });
    },

    'connections half open': async (_, target) => {
      const datagrams = await UdpStranger.at(MEMBER_HOST, target);
      for (let i = 0; i < HALF_OPEN_AT_ONCE; i += 1) datagrams.send(0, forger.initial());
      const dials = Array.from({ length: HALF_OPEN_AT_ONCE }, () =>
        TcpStranger.dial(target, MEMBER_HOST),
      );
      const sockets = await Promise.all(dials);
      // Half of them begin TLS, and none goes on.
      for (const socket of sockets.slice(0, HALF_OPEN_AT_ONCE / 2)) socket.send(0, HELLO_BEGINS);
      await sleep(HOLD_MS);
      for (const each of [datagrams, ...sockets]) each.hangUp();
      return HALF_OPEN_AT_ONCE;
    },

    nonces: async (_, target) => {
      const client = await member.dial(target);
      member.shake(client);
      await sleep(1);
      client.hangUp();
      return 1;
    },

    'connections that come and go': async (_, target) => {
      const client = await member.connect(target);
      client.hangUp();
      return 1;
    },

    'handshakes under its own name': async (_, target) => {
      const dials = await Promise.allSettled(
        Array.from({ length: CONNECTIONS_AT_ONCE }, () => member.connect(target)),
      );
      await sleep(HOLD_MS);
      const open = dials.flatMap((dial) => (dial.status === 'fulfilled' ? [dial.value] : []));
      for (const client of open) client.hangUp();
      return open.length;
    },

    'bad frames': async (_, target) => {
      const client = await member.connect(target);
      const id = client.nextId;
      const frames = [
        randomBytes(64),
        writeFrame(0x0182, id, Buffer.of(0xf6)),
        writeFrame(END, id, randomBytes(100)),
        Buffer.concat([writeFrame(END, id, Buffer.of(0xf6)).subarray(0, -1), Buffer.of(0)]),
        Buffer.concat([uint(4, 0xffff_ffff), Buffer.alloc(10)]),
      ];
      client.send(id, frames[Math.floor(Math.random() * frames.length)]!);
      await sleep(20);
      client.hangUp();
      return 1;
    },
  };
}

/** @returns its message id */
function send(client: HostileClient, message: Message, { end = true } = {}): number {
  const id = client.nextId;
  client.send(id, messageOf(id, message, { end }), end);
  return id;
}

/** @param order what the node is to do with it */
function call(client: HostileClient, order: string): number {
  return send(client, { type: 'request', method: 'x', body: order });
}

function sendFrame(client: HostileClient, frame: (id: number) => Buffer, end: boolean): void {
  const id = client.nextId;
  client.send(id, frame(id), end);
}

function reset(client: HostileClient, id: number): void {
  client.send('control', frameOf(id, RESET, { control: FrameFlag.reset }));
}

/** A message whose rest never comes: the first piece over TCP, half a frame over QUIC. */
function beginMessage(client: HostileClient): void {
  const id = client.nextId;
  const isWhole = client.transport === 'tcp';
  const frame = frameOf(id, PART, { control: isWhole ? FrameFlag.more : FrameFlag.end });
  client.send(id, isWhole ? frame : frame.subarray(0, 500));
}

function transfer(isResumed: boolean): Message {
  return {
    type: 'dataTransfer',
    transferId: randomUUID(),
    offset: 0,
    metadata: { order: 'neverAnswer', chunks: 0 },
    ...(isResumed ? { resume: true } : { data: PIECE }),
  };
}
