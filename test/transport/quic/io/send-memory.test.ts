/** Memory of datagrams is used again once the system has them, and not before. */
import test from 'ava';
import { SendMemory } from '../../../../src/transport/quic/io/send-memory.js';

const BLOCK_BYTES = 256 * 1024;
const DATAGRAM_BYTES = 16_000;

function take(memory: SendMemory, fill: number, bytes = DATAGRAM_BYTES): Buffer {
  memory.room(bytes).fill(fill);
  return memory.take(bytes);
}

test('nothing that was taken changes before it is released, however much follows', (t) => {
  const memory = new SendMemory();
  const taken = Array.from({ length: 200 }, (_, i) => take(memory, i));
  for (const [i, datagram] of taken.entries()) {
    t.true(datagram.equals(Buffer.alloc(DATAGRAM_BYTES, i)));
  }
});

test('released memory is used again', (t) => {
  const memory = new SendMemory();
  const blocks = new Set<ArrayBufferLike>();
  for (let round = 0; round < 100; round += 1) {
    for (let i = 0; i < 100; i += 1) blocks.add(take(memory, i).buffer);
    memory.release();
  }
  // As many as one round fills, and no more.
  t.true(
    blocks.size <= Math.ceil((100 * DATAGRAM_BYTES) / (BLOCK_BYTES - 65_535)),
    `${blocks.size}`,
  );
});

test('what a burst needed is given up bit by bit, and no burst keeps more than 8 MiB', (t) => {
  const memory = new SendMemory();
  const burst = () =>
    new Set(Array.from({ length: 2000 }, (_, i) => take(memory, i).buffer as ArrayBufferLike));
  const first = burst();
  memory.release();
  const second = burst();
  const kept = [...second].filter((block) => first.has(block));
  t.true(kept.length > 0);
  t.true(kept.length <= 33, `${kept.length}`);
  memory.release();
  for (let i = 0; i < 100; i += 1) {
    take(memory, i, 100);
    memory.release();
  }
  const later = [...burst()].filter((block) => second.has(block));
  t.true(later.length <= 1, `${later.length}`);
});

test('any datagram has room', (t) => {
  const memory = new SendMemory();
  for (let i = 0; i < 20; i += 1) {
    t.is(memory.room(65_535).length, 65_535);
    memory.take(20_000);
  }
});
