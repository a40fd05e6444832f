/** Messages of one peer on their way to being decoded: what they take first, in which order, and what they wait for. */
import { AsyncLocalStorage } from 'node:async_hooks';
import test from 'ava';
import { ByteBudget } from '../../../src/base/byte-budget.js';
import { JobTurns } from '../../../src/base/job-turns.js';
import { Flow } from '../../../src/calls/flow.js';
import { HandlerSlots } from '../../../src/calls/incoming/handler-slots.js';
import type { MessageSink } from '../../../src/calls/reading/message-sink.js';
import { PeerReader } from '../../../src/calls/reading/peer-reader.js';
import type { MeshError } from '../../../src/errors.js';
import {
  type Algorithm,
  Compression,
  type Frame,
  FrameCodec,
  type Message,
  MessageCodec,
} from '../../../src/protocol/index.js';
import type { FrameStream } from '../../../src/transport/connection.js';
import { until } from '../../helpers/until.js';
import { algorithms, frameOf } from '../../protocol/receive.js';

const MIB = 1024 * 1024;
const plainCodec = new MessageCodec();

test('a small message is handed over at once, with what it takes in memory', (t) => {
  const { reader, codec, room } = setUp();
  const sink = new Sink();
  const message: Message = { type: 'request', method: 'get', body: [{ id: 1 }, Buffer.from('x')] };
  const frame = frameOf({ payload: plainCodec.encode(message), compression: Compression.none });
  reader.receive(frame, codec, sink, room);
  t.deepEqual(sink.messages, [message]);
  // 11 items: map, six texts, list, map, number and byte string. Three of them are maps or byte strings.
  t.is(sink.heldBytes, frame.payload.length + 11 * 32 + 3 * 80);
  t.is(room.receiveBudget.usedBytes, 0);
});

// What a hundred thousand of each take on the heap of V8, in bytes each.
for (const [what, hex, items, heapBytes] of [
  ['empty byte strings', '40', 1, 104],
  ['empty lists', '80', 1, 40],
  ['empty maps', 'a0', 1, 64],
  ['floats', 'fb3ff1111111111111', 1, 24],
  ['64-bit integers', '1bffffffffffffffff', 1, 31],
  ['maps of a list', 'a1616180', 3, 100],
] as const) {
  test(`${what} are charged at no less than two thirds of what they take`, async (t) => {
    const { reader, codec, room } = setUp();
    const count = Math.floor(100_000 / items);
    const sink = new Sink();
    reader.receive(listOf(Buffer.from(hex, 'hex'), count), codec, sink, room);
    await until(() => sink.isSettled);
    const chargedBytes = sink.heldBytes - (count * hex.length) / 2;
    t.true(chargedBytes > (count * heapBytes * 2) / 3, `${chargedBytes}`);
  });
}

for (const name of ['lz4', 'zstd'] as const) {
  test(`${name}: a message without room for what it becomes is refused before it is decompressed`, async (t) => {
    const { reader, codec, room, decompressed } = setUp(name);
    const frame = await bombOf(name, MIB);
    room.receiveBudget.take(32 * MIB);
    room.nestedReceiveBudget.take(32 * MIB);
    const refused = new Sink();
    reader.receive(frame, codec, refused, room);
    t.is(refused.error?.code, 'Overloaded');
    t.is(decompressed(), 0);
    // What is small may be urgent, which only its content says, and urgent calls have more room.
    const small = new Sink();
    reader.receive(await bombOf(name, 100_000), codec, small, room);
    await until(() => small.messages.length === 1);
    t.is(decompressed(), 1);
    t.is(room.receiveBudget.usedBytes, 32 * MIB);
    t.is(room.slots.taken, 0);
  });

  test(`${name}: 40 bombs at once take no more than two of them, and all are read in the end`, async (t) => {
    const { reader, codec, room, jobs } = setUp(name);
    const frame = await bombOf(name, MIB);
    const sinks = Array.from({ length: 40 }, () => new Sink());
    for (const sink of sinks) reader.receive(frame, codec, sink, room);
    const most = { bytes: 0, jobs: 0 };
    while (sinks.some(({ isSettled }) => !isSettled)) {
      most.bytes = Math.max(most.bytes, room.receiveBudget.usedBytes);
      most.jobs = Math.max(most.jobs, jobs.running);
      await new Promise(setImmediate);
    }
    t.log(`${most.bytes} bytes and ${most.jobs} jobs at most`);
    t.true(most.bytes <= 40 * frame.payload.length + 2 * (MIB + 100));
    t.true(most.jobs <= 2);
    for (const { messages, held } of sinks) {
      t.is(messages.length, 1);
      t.is(held, 0, 'the stream goes on');
    }
    t.is(room.receiveBudget.usedBytes, 0);
    t.is(room.slots.taken, 0);
  });
}

test('room that is gone when a message has its turn is not there for it', async (t) => {
  const { reader, codec, room, decompressed } = setUp('zstd');
  const frame = await bombOf('zstd', MIB);
  const sinks = [new Sink(), new Sink(), new Sink()] as const;
  for (const sink of sinks) reader.receive(frame, codec, sink, room);
  // Two are decompressed at a time. The handler of the one that is done first keeps all that there is.
  let isKept = false;
  const keepAll = (): void => {
    if (isKept) return;
    isKept = true;
    room.receiveBudget.take(40 * MIB);
    room.nestedReceiveBudget.take(40 * MIB);
  };
  for (const sink of sinks) sink.onRead = keepAll;
  await until(() => sinks.every(({ isSettled }) => isSettled));
  t.is(sinks[2].error?.code, 'Overloaded');
  t.true(decompressed() <= 2);
  t.is(room.receiveBudget.usedBytes, 40 * MIB);
});

test('no more messages wait than calls may be handled, whatever other calls there are', async (t) => {
  const { reader, codec, room } = setUp('zstd', 3);
  for (const kind of ['usual', 'urgent', 'nested'] as const) t.true(room.slots.take(kind));
  const frame = await bombOf('zstd', 100_000);
  const sinks = Array.from({ length: 10 }, () => new Sink());
  for (const sink of sinks) reader.receive(frame, codec, sink, room);
  t.is(sinks.filter(({ error }) => error?.code === 'Overloaded').length, 7);
  await until(() => sinks.every(({ isSettled }) => isSettled));
  t.is(sinks.filter(({ messages }) => messages.length === 1).length, 3);
});

test('a call that is over while its message waits keeps its place until its turn, and costs no more then', async (t) => {
  const { reader, codec, room, decompressed } = setUp('zstd', 4);
  const frame = await bombOf('zstd', MIB);
  const sinks = Array.from({ length: 4 }, () => new Sink());
  for (const sink of sinks) reader.receive(frame, codec, sink, room);
  for (const sink of sinks.slice(2)) sink.isOver = true;
  const late = new Sink();
  reader.receive(frame, codec, late, room);
  t.is(late.error?.code, 'Overloaded', 'a reset makes no room');
  await until(() => room.slots.taken === 0);
  t.is(decompressed(), 2);
  t.deepEqual(
    sinks.map(({ messages }) => messages.length),
    [1, 1, 0, 0],
  );
  t.is(room.receiveBudget.usedBytes, 0);
});

test('messages of very many items wait for the share of their own peer, and nobody else does', async (t) => {
  const { reader, codec, room, jobs } = setUp('lz4');
  const frame = await packed('lz4', listOf(Buffer.from('80', 'hex'), 131_000).payload);
  const sinks = Array.from({ length: 12 }, () => new Sink());
  const order: Sink[] = [];
  for (const sink of sinks) {
    sink.onRead = () => order.push(sink);
    reader.receive(frame, codec, sink, room);
  }
  t.true(reader.waiting > 0, `${order.length} were read at once`);
  const small = new Sink();
  const ping = frameOf({ payload: plainCodec.encode({ type: 'ping' }), compression: 0 });
  reader.receive(ping, codec, small, room);
  t.is(small.messages.length, 1, 'a small message of the same peer is read at once');
  const other = new Sink();
  new PeerReader(jobs).receive(frame, codec, other, room);
  await until(() => other.isSettled);
  t.true(reader.waiting > 0, 'the like of another peer does not wait for those of this one');
  await until(() => sinks.every(({ isSettled }) => isSettled));
  t.deepEqual(order, sinks, 'in their order');
  t.is(room.slots.taken, 0);
});

test('a message of very many items is decoded over many turns of the event loop, and charged meanwhile', async (t) => {
  const { reader, codec, room } = setUp();
  const items = 131_000;
  const list = listOf(Buffer.from('4107', 'hex'), items);
  const sink = new Sink();
  const next = new Sink();
  next.onRead = () => t.true(sink.isSettled, 'what came later waits');
  reader.receive(list, codec, sink, room);
  t.is(sink.messages.length, 0);
  t.true(room.receiveBudget.usedBytes > items * 100, `${room.receiveBudget.usedBytes}`);
  reader.receive(listOf(Buffer.from('80', 'hex'), 10_000), codec, next, room);
  let turns = 0;
  for (; !sink.isSettled; turns += 1) await new Promise(setImmediate);
  t.true(turns > 3, `${turns}`);
  const [message] = sink.messages as { body: Buffer[] }[];
  t.is(message?.body.length, items);
  t.true(message?.body.every((one) => one.length === 1 && one[0] === 7));
  await until(() => next.isSettled);
  t.is(next.messages.length, 1);
  t.is(room.receiveBudget.usedBytes, 0);
});

test('a bomb is decompressed over many turns of the event loop, and charged meanwhile', async (t) => {
  const { reader, codec, room } = setUp('lz4');
  const sink = new Sink();
  reader.receive(await bombOf('lz4', 15 * MIB), codec, sink, room);
  let turns = 0;
  for (; !sink.isSettled; turns += 1) {
    t.true(room.receiveBudget.usedBytes > 15 * MIB);
    await new Promise(setImmediate);
  }
  t.true(turns >= 1, `${turns}`);
  t.is(sink.messages.length, 1);
  t.is(room.receiveBudget.usedBytes, 0);
});

test('what claims to become more than is allowed is refused at once, and makes no other message wait', async (t) => {
  const { reader, codec, room } = setUp('lz4');
  const claim = Buffer.alloc(10, 0xff);
  for (let i = 0; i < 5; i += 1) {
    const sink = new Sink();
    reader.receive(frameOf({ payload: claim, compression: Compression.lz4 }), codec, sink, room);
    t.is(sink.error?.code, 'MessageTooLarge');
  }
  const sink = new Sink();
  reader.receive(await bombOf('lz4', 100_000), codec, sink, room);
  t.is(reader.waiting, 0);
  await until(() => sink.isSettled);
  t.is(room.receiveBudget.usedBytes, 0);
});

test('answers are not refused, and count from their arrival until they are decoded', async (t) => {
  const { codec, jobs } = setUp('lz4');
  const answers = new ByteBudget(MIB);
  const reader = new PeerReader(jobs, answers);
  const frame = await bombOf('lz4', 4 * MIB);
  const sinks = [1, 2, 3, 4].map(() => new Sink());
  for (const sink of sinks) reader.receive(frame, codec, sink);
  t.true(reader.waiting > 0);
  t.true(answers.usedBytes >= 4 * MIB, `${answers.usedBytes}`);
  t.false(answers.hasRoom);
  await until(() => sinks.every(({ isSettled }) => isSettled));
  for (const { messages } of sinks) t.is(messages.length, 1);
  t.is(answers.usedBytes, 0);
});

test('a message that is given up while it is decoded is decoded no further', async (t) => {
  const { reader, codec, room } = setUp();
  const sink = new Sink();
  reader.receive(listOf(Buffer.from('4107', 'hex'), 131_000), codec, sink, room);
  sink.isOver = true;
  await until(() => room.slots.taken === 0);
  t.is(sink.messages.length, 0);
  t.is(room.receiveBudget.usedBytes, 0);
});

test('a message that waited is handed over in the async context that it arrived in', async (t) => {
  const { reader, codec, room } = setUp('zstd');
  const storage = new AsyncLocalStorage<string>();
  const frame = await bombOf('zstd', 100_000);
  const seen: [string, string | undefined][] = [];
  const names = ['a', 'b', 'c', 'd', 'e'];
  const sinks = names.map((name) => {
    const sink = new Sink();
    sink.onRead = () => seen.push([name, storage.getStore()]);
    storage.run(name, () => reader.receive(frame, codec, sink, room));
    return sink;
  });
  await until(() => sinks.every(({ isSettled }) => isSettled));
  t.is(seen.length, 5);
  for (const [name, context] of seen) t.is(context, name);
});

test('what cannot be decompressed or decoded is refused, and gives back what it took', async (t) => {
  const { reader, codec, room } = setUp('lz4');
  const bomb = await bombOf('lz4', 100_000);
  const broken = Buffer.from(bomb.payload);
  broken.fill(0xff, 8);
  const large = await bombOf('lz4', MIB);
  const largeBroken = Buffer.from(large.payload);
  largeBroken.fill(0, 8);
  const notCbor = Buffer.alloc(5000, 0xff);
  for (const frame of [
    { ...bomb, payload: broken },
    { ...large, payload: largeBroken },
    frameOf({ payload: notCbor, compression: 0 }),
  ]) {
    const sink = new Sink();
    reader.receive(frame, codec, sink, room);
    await until(() => sink.isSettled);
    t.is(sink.error?.code, 'MalformedMessage');
  }
  t.is(room.receiveBudget.usedBytes, 0);
  t.is(room.slots.taken, 0);
});

function setUp(name: 'lz4' | 'zstd' = 'zstd', calls = 1024) {
  let count = 0;
  const counting: Algorithm = {
    ...algorithms[name],
    decompress(...input) {
      count += 1;
      return algorithms[name].decompress(...input);
    },
    decompressInSteps(...input) {
      const block = algorithms[name].decompressInSteps?.(...input);
      if (block !== undefined) count += 1;
      return block;
    },
  };
  const codec = new FrameCodec({
    codec: plainCodec,
    maxMessageBytes: 16 * MIB,
    algorithms: [counting],
    thresholdBytes: 4096,
  });
  const jobs = new JobTurns(3);
  const room = {
    slots: new HandlerSlots(calls),
    receiveBudget: new ByteBudget(32 * MIB),
    nestedReceiveBudget: new ByteBudget(32 * MIB),
  };
  return { reader: new PeerReader(jobs), codec, jobs, room, decompressed: () => count };
}

/** A request whose body are zeros, compressed. */
async function bombOf(name: 'lz4' | 'zstd', bytes: number): Promise<Frame> {
  const message: Message = { type: 'request', method: 'm', body: Buffer.alloc(bytes) };
  return packed(name, plainCodec.encode(message));
}

async function packed(name: 'lz4' | 'zstd', raw: Uint8Array): Promise<Frame> {
  const data = await algorithms[name].compress(Buffer.from(raw));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(raw.length);
  const compression = algorithms[name].id;
  return { ...frameOf({ payload: Buffer.concat([length, data]), compression }), compression };
}

/** A response whose body is a list of one and the same item. */
function listOf(item: Buffer, count: number): Frame {
  const head = Buffer.from('a2647479706568726573706f6e736564626f64799a00000000', 'hex');
  head.writeUInt32BE(count, head.length - 4);
  const payload = Buffer.concat([head, Buffer.alloc(count * item.length, item)]);
  return frameOf({ payload, compression: Compression.none });
}

class Sink implements MessageSink {
  readonly messages: Message[] = [];
  heldBytes = 0;
  error: MeshError | undefined;
  isOver = false;
  onRead: () => void = () => {};
  /** How often the stream was paused and not resumed. */
  held = 0;
  readonly flow = new Flow({
    pause: () => {
      this.held += 1;
    },
    resume: () => {
      this.held -= 1;
    },
  } as FrameStream);

  get isSettled(): boolean {
    return this.messages.length > 0 || this.error !== undefined;
  }

  onMessage(message: Message, _frame: Frame, heldBytes: number): void {
    this.messages.push(message);
    this.heldBytes = heldBytes;
    this.onRead();
  }

  onBadMessage(error: MeshError): void {
    this.error = error;
  }
}
