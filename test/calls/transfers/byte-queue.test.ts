/** Chunks that are lent: whose their memory is, and until when. */
import test from 'ava';
import { ByteQueue } from '../../../src/calls/transfers/byte-queue.js';
import type { FrameLoan } from '../../../src/protocol/frame.js';

test('a chunk is the reader’s for good unless the reader lets its memory be used again', async (t) => {
  const queue = new ByteQueue(undefined, () => {});
  const loans = [new CountedLoan(), new CountedLoan()];
  for (const loan of loans) queue.push(loan.bytes, loan);
  queue.end();
  for await (const _ of queue);
  t.deepEqual(backOf(loans), [0, 0]);
});

test('a chunk that is lent goes back, once, when the next one is asked for', async (t) => {
  const queue = new ByteQueue(undefined, () => {});
  queue.lend();
  const loans = [new CountedLoan(), new CountedLoan(), new CountedLoan()];
  const [first, second, third] = loans as [CountedLoan, CountedLoan, CountedLoan];
  const reader = queue[Symbol.asyncIterator]();
  queue.push(first.bytes, first);
  queue.push(Buffer.from('without a loan'));
  t.is((await reader.next()).value, first.bytes);
  t.deepEqual(backOf(loans), [0, 0, 0]);
  await reader.next();
  t.deepEqual(backOf(loans), [1, 0, 0]);
  // The reader waits ahead of the bytes.
  const waiting = reader.next();
  queue.push(second.bytes, second);
  t.is((await waiting).value, second.bytes);
  t.deepEqual(backOf(loans), [1, 0, 0]);
  queue.push(third.bytes, third);
  await reader.next();
  queue.end();
  t.deepEqual(backOf(loans), [1, 1, 0]);
  t.true((await reader.next()).done);
  t.true((await reader.next()).done);
  t.deepEqual(backOf(loans), [1, 1, 1]);
});

test('a chunk that the reader got before it lent any, or that it stopped at, stays its own', async (t) => {
  const queue = new ByteQueue(undefined, () => {});
  const loans = [new CountedLoan(), new CountedLoan()];
  for (const loan of loans) queue.push(loan.bytes, loan);
  const reader = queue[Symbol.asyncIterator]();
  await reader.next();
  queue.lend();
  await reader.next();
  await reader.return?.();
  t.deepEqual(backOf(loans), [0, 0]);
});

class CountedLoan implements FrameLoan {
  readonly bytes = Buffer.alloc(10);
  back = 0;

  giveBack(): void {
    this.back += 1;
  }
}

function backOf(loans: readonly CountedLoan[]): number[] {
  return loans.map(({ back }) => back);
}
