/** Who may handle a transfer, and what is remembered of it, on a clock of the test's own. */
import test from 'ava';
import type { TransferMemory } from '../../src/calls/transfers/incoming-transfer.js';
import {
  MAX_REMEMBERED_TRANSFERS,
  ResumedTransfers,
  TRANSFER_MEMORY_MS,
  type TransferTurn,
} from '../../src/calls/transfers/resumed-transfers.js';
import { TransferChecksum } from '../../src/calls/transfers/transfer-checksum.js';

class Turn implements TransferTurn {
  readonly starts: (TransferMemory | undefined)[] = [];
  readonly cancels: string[] = [];

  start(memory: TransferMemory | undefined): void {
    this.starts.push(memory);
  }

  cancel({ code }: { readonly code: string }): void {
    this.cancels.push(code);
  }
}

function memoryOf(handedTo: number): TransferMemory {
  return {
    received: new TransferChecksum(0, 0, true),
    sent: new TransferChecksum(0, 0, true),
    handedTo,
  };
}

test('a turn starts when the one before has left, and is told what that knew', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const [first, second, third, other] = [new Turn(), new Turn(), new Turn(), new Turn()];
  transfers.enter('a', first);
  t.deepEqual(first.starts, [undefined]);
  transfers.enter('a', second);
  transfers.enter('a', third);
  transfers.enter('b', other);
  t.deepEqual(first.cancels, ['Cancelled', 'Cancelled']);
  t.deepEqual(second.cancels, ['Cancelled']);
  t.deepEqual(other.starts, [undefined]);
  // One whose place was taken leaves, which changes nothing.
  transfers.leave('a', second, undefined);
  t.is(third.starts.length, 0);
  const memory = memoryOf(1);
  transfers.leave('a', first, memory);
  t.deepEqual(third.starts, [memory]);
  t.is(second.starts.length, 0);
  // One that never came to begin leaves what was known.
  transfers.leave('a', third, undefined);
  const fourth = new Turn();
  transfers.enter('a', fourth);
  t.is(fourth.starts[0], memory);
});

test('a turn that is given up while it waits does not start', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const [first, second, third] = [new Turn(), new Turn(), new Turn()];
  transfers.enter('a', first);
  transfers.enter('a', second);
  transfers.leave('a', second, undefined);
  transfers.leave('a', first, memoryOf(1));
  transfers.enter('a', third);
  t.is(second.starts.length, 0);
  t.is(third.starts[0]?.handedTo, 1);
});

test('so many transfers are remembered, those that ended last, beside all that are under way', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const running = Array.from({ length: 10 }, (_, i) => [`running ${i}`, new Turn()] as const);
  for (const [key, turn] of running) transfers.enter(key, turn);
  const total = MAX_REMEMBERED_TRANSFERS + 50;
  for (let i = 0; i < total; i += 1) {
    const turn = new Turn();
    transfers.enter(`${i}`, turn);
    transfers.leave(`${i}`, turn, memoryOf(i));
    // To leave twice changes nothing.
    transfers.leave(`${i}`, turn, memoryOf(-1));
  }
  t.is(transfers.size, MAX_REMEMBERED_TRANSFERS + running.length);
  const known = (key: string): number | undefined => {
    const turn = new Turn();
    transfers.enter(key, turn);
    return turn.starts[0]?.handedTo;
  };
  t.is(known('49'), undefined);
  t.is(known('51'), 51);
  t.is(known(`${total - 1}`), total - 1);
});

test('a transfer is forgotten after its time, unless it is under way', (t) => {
  let nowMs = 0;
  const transfers = new ResumedTransfers(() => nowMs);
  const [old, young, running] = [new Turn(), new Turn(), new Turn()];
  transfers.enter('running', running);
  transfers.enter('old', old);
  transfers.leave('old', old, memoryOf(1));
  nowMs = 1000;
  transfers.enter('young', young);
  transfers.leave('young', young, memoryOf(2));
  nowMs = TRANSFER_MEMORY_MS + 1;
  const [again, oldAgain] = [new Turn(), new Turn()];
  transfers.enter('young', again);
  t.is(again.starts[0]?.handedTo, 2);
  transfers.enter('old', oldAgain);
  t.deepEqual(oldAgain.starts, [undefined]);
  t.is(transfers.size, 3);
});
