/** The two parts of a stream by themselves: which frames wait, what is left to send, and how each side ends. */
import test from 'ava';
import {
  Compression,
  encodeFrame,
  FrameDecoder,
  FrameFlag,
} from '../../../../src/protocol/frame.js';
import { TailSum } from '../../../../src/protocol/kept-message.js';
import { FrameMemory } from '../../../../src/transport/frame-memory.js';
import { ReceivingPart } from '../../../../src/transport/quic/streams/receiving-part.js';
import {
  type OutgoingFrame,
  SendingPart,
} from '../../../../src/transport/quic/streams/sending-part.js';

const ID = 7;

test('frames leave in order, cut wherever QUIC stops, and the stream ends with the last byte', (t) => {
  const sending = newSendingPart();
  sending.push(frame(Buffer.from('first')));
  sending.push(frame(Buffer.from('second'), FrameFlag.end));
  t.false(sending.isOpen);
  const decoder = new FrameDecoder();
  const texts: string[] = [];
  while (sending.hasUnsent) {
    const bytes = sending.nextBytes(ID).subarray(0, 7);
    decoder.push(Buffer.from(bytes));
    sending.took(bytes.length);
    for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
      texts.push(Buffer.from(next.payload).toString());
      t.is(sending.isEnded, texts.length === 2);
    }
  }
  t.deepEqual(texts, ['first', 'second']);
  t.is(sending.unsentBytes, 0);
});

test('only the last bytes of the last frame carry the end', (t) => {
  const sending = newSendingPart();
  sending.push(frame(Buffer.from('first')));
  sending.nextBytes(ID);
  t.false(sending.isLast);
  sending.push(frame(Buffer.alloc(0), FrameFlag.end));
  t.false(sending.isLast);
  t.true(sending.took(sending.nextBytes(ID).length));
  sending.nextBytes(ID);
  t.true(sending.isLast);
});

test('of a frame that waits the tail is copied, to memory that is used again', (t) => {
  const frameMemory = new FrameMemory();
  const sending = newSendingPart(frameMemory);
  const memory = frameMemory.take(40_000) as Buffer;
  frameMemory.give(memory);
  sending.push(frame(Buffer.from('first')));
  sending.nextBytes(ID);
  const tail = Buffer.alloc(40_000, 1);
  const payload = Buffer.from('second');
  const payloadBytes = payload.length + tail.length;
  const waiting: OutgoingFrame = { ...frame(payload), tail, payloadBytes };
  sending.push(waiting);
  sending.keepTail(waiting);
  t.is(waiting.tail?.buffer, memory.buffer);
  tail.fill(2);
  sending.took(sending.nextBytes(ID).length);
  const decoder = new FrameDecoder();
  decoder.push(Buffer.from(sending.nextBytes(ID)));
  t.deepEqual(decoder.next()?.payload, Buffer.concat([payload, Buffer.alloc(40_000, 1)]));
  t.is(frameMemory.take(40_000)?.buffer, memory.buffer);
  sending.discard();
});

test('what was taken back is as if it had never been pushed', (t) => {
  const sending = newSendingPart();
  sending.push(frame(Buffer.from('last'), FrameFlag.end));
  sending.nextBytes(ID);
  sending.unsend();
  t.true(sending.isOpen);
  t.false(sending.hasUnsent);
  t.is(sending.unsentBytes, 0);
});

test('a side that gives up sends one byte, which is the one that its frame lacks if it lacks one', (t) => {
  const none = newSendingPart();
  none.push(frame(Buffer.from('x')));
  none.giveUp();
  t.deepEqual(none.nextBytes(ID), Buffer.alloc(1));
  t.true(none.isLast);

  const one = newSendingPart();
  one.push(frame(Buffer.from('x')));
  const bytes = Buffer.from(one.nextBytes(ID));
  one.took(bytes.length - 1);
  one.giveUp();
  t.deepEqual(Buffer.from(one.nextBytes(ID)), bytes.subarray(-1));
  one.took(1);
  t.true(one.isEnded);
});

test('where QUIC takes nothing more, nothing waits, and what is pushed still tells what its tail was', (t) => {
  const sending = newSendingPart();
  const sums = [new TailSum(), new TailSum()] as const;
  sending.push({ ...frame(Buffer.from('x')), tail: Buffer.from('tail'), tailSum: sums[0] });
  sending.fail();
  t.true(sending.isEnded);
  sending.push({ ...frame(Buffer.from('x')), tail: Buffer.from('tail'), tailSum: sums[1] });
  t.false(sending.hasUnsent);
  t.not(sums[0].value, undefined);
  t.is(sums[0].value, sums[1].value);
});

test('the end is due once the frame with the end bit is taken, and bytes behind it are a violation', (t) => {
  const receiving = newReceivingPart();
  const last = encodeFrame({
    control: FrameFlag.end,
    messageId: ID,
    payload: Buffer.from('last'),
    checksum: true,
  });
  receiving.push(last.subarray(0, 10), false, ID);
  t.is(receiving.next(ID), undefined);
  t.is(receiving.partialBytes, 10);
  receiving.push(last.subarray(10), true, ID);
  t.deepEqual(Buffer.from(receiving.next(ID)?.payload ?? []), Buffer.from('last'));
  t.true(receiving.isEnding);
  t.true(receiving.hasFin);
  receiving.end(ID);
  t.true(receiving.isEnded);
  t.throws(() => receiving.push(Buffer.alloc(1), true, ID), { code: 'ProtocolViolation' });
});

test('bytes that came with the last frame, behind it, are a violation', (t) => {
  const receiving = newReceivingPart();
  const last = encodeFrame({
    control: FrameFlag.end,
    messageId: ID,
    payload: Buffer.from('last'),
    checksum: true,
  });
  receiving.push(Buffer.concat([last, Buffer.alloc(1)]), true, ID);
  receiving.next(ID);
  t.throws(() => receiving.end(ID), { code: 'ProtocolViolation' });
});

test("another stream's frame, and flags of TCP, are violations", (t) => {
  const other = newReceivingPart();
  other.push(encodeFrame({ messageId: 9, payload: Buffer.from('x'), checksum: true }), false, ID);
  t.throws(() => other.next(ID), { code: 'ProtocolViolation' });
  const cut = newReceivingPart();
  const control = FrameFlag.more;
  const payload = Buffer.from('x');
  cut.push(encodeFrame({ control, messageId: ID, payload, checksum: true }), false, ID);
  t.throws(() => cut.next(ID), { code: 'ProtocolViolation' });
});

function newSendingPart(frameMemory = new FrameMemory()): SendingPart {
  return new SendingPart({
    checksum: true,
    frameMemory,
    counters: {
      framesSent: 0,
      framesReceived: 0,
      bytesSent: 0,
      bytesReceived: 0,
      streamsOpened: 0,
      streamsAccepted: 0,
      streamsReset: 0,
    },
  });
}

function newReceivingPart(): ReceivingPart {
  return new ReceivingPart({ newDecoder: () => new FrameDecoder() });
}

function frame(payload: Buffer, control = 0): OutgoingFrame {
  return {
    control,
    messageId: 0,
    checksum: false,
    compression: Compression.none,
    payload,
    tail: undefined,
    tailChecksum: undefined,
    tailSum: undefined,
    payloadBytes: payload.length,
  };
}
