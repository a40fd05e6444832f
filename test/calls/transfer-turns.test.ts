/** Who may handle a transfer, and what is remembered of it, on a clock of the test's own. */
import test from 'ava';
import type { TransferMemory } from '../../src/calls/transfers/incoming-transfer.js';
import {
  MAX_REMEMBERED_OF_PEER,
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
  transfers.enter('n1', 'a', first);
  t.deepEqual(first.starts, [undefined]);
  transfers.enter('n1', 'a', second);
  transfers.enter('n1', 'a', third);
  transfers.enter('n1', 'b', other);
  t.deepEqual(first.cancels, ['Cancelled', 'Cancelled']);
  t.deepEqual(second.cancels, ['Cancelled']);
  t.deepEqual(other.starts, [undefined]);
  // One whose place was taken leaves, which changes nothing.
  transfers.leave('n1', 'a', second, undefined);
  t.is(third.starts.length, 0);
  const memory = memoryOf(1);
  transfers.leave('n1', 'a', first, memory);
  t.deepEqual(third.starts, [memory]);
  t.is(second.starts.length, 0);
  // One that never came to begin leaves what was known.
  transfers.leave('n1', 'a', third, undefined);
  const fourth = new Turn();
  transfers.enter('n1', 'a', fourth);
  t.is(fourth.starts[0], memory);
});

test('a turn that is given up while it waits does not start', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const [first, second, third] = [new Turn(), new Turn(), new Turn()];
  transfers.enter('n1', 'a', first);
  transfers.enter('n1', 'a', second);
  transfers.leave('n1', 'a', second, undefined);
  transfers.leave('n1', 'a', first, memoryOf(1));
  transfers.enter('n1', 'a', third);
  t.is(second.starts.length, 0);
  t.is(third.starts[0]?.handedTo, 1);
});

test('so many transfers are remembered, those that ended last, beside all that are under way', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const running = Array.from({ length: 10 }, (_, i) => [`running ${i}`, new Turn()] as const);
  for (const [key, turn] of running) transfers.enter('n1', key, turn);
  const total = MAX_REMEMBERED_TRANSFERS + 50;
  for (let i = 0; i < total; i += 1) {
    const turn = new Turn();
    const peer = `p${i % 5}`;
    transfers.enter(peer, `${i}`, turn);
    transfers.leave(peer, `${i}`, turn, memoryOf(i));
    // To leave twice changes nothing.
    transfers.leave(peer, `${i}`, turn, memoryOf(-1));
  }
  t.is(transfers.size, MAX_REMEMBERED_TRANSFERS + running.length);
  const known = (i: number): number | undefined => {
    const turn = new Turn();
    transfers.enter(`p${i % 5}`, `${i}`, turn);
    return turn.starts[0]?.handedTo;
  };
  t.is(known(49), undefined);
  t.is(known(51), 51);
  t.is(known(total - 1), total - 1);
});

test('a peer whose transfers break off again and again has its own forgotten, and no others', (t) => {
  const transfers = new ResumedTransfers(() => 0);
  const breakOff = (peer: string, id: number): void => {
    const turn = new Turn();
    transfers.enter(peer, `${id}`, turn);
    transfers.leave(peer, `${id}`, turn, memoryOf(id));
  };
  const known = (peer: string, id: number): number | undefined => {
    const turn = new Turn();
    transfers.enter(peer, `${id}`, turn);
    return turn.starts[0]?.handedTo;
  };
  breakOff('n1', 7);
  for (let id = 0; id < 1000; id += 1) breakOff('n2', id);
  t.is(transfers.size, 1 + MAX_REMEMBERED_OF_PEER);
  t.is(known('n2', 1000 - MAX_REMEMBERED_OF_PEER - 1), undefined);
  t.is(known('n2', 999), 999);
  t.is(known('n1', 7), 7);
});

test('a transfer is forgotten after its time, unless it is under way', (t) => {
  let nowMs = 0;
  const transfers = new ResumedTransfers(() => nowMs);
  const [old, young, running] = [new Turn(), new Turn(), new Turn()];
  transfers.enter('n1', 'running', running);
  transfers.enter('n1', 'old', old);
  transfers.leave('n1', 'old', old, memoryOf(1));
  nowMs = 1000;
  transfers.enter('n1', 'young', young);
  transfers.leave('n1', 'young', young, memoryOf(2));
  nowMs = TRANSFER_MEMORY_MS + 1;
  const [again, oldAgain] = [new Turn(), new Turn()];
  transfers.enter('n1', 'young', again);
  t.is(again.starts[0]?.handedTo, 2);
  transfers.enter('n1', 'old', oldAgain);
  t.deepEqual(oldAgain.starts, [undefined]);
  t.is(transfers.size, 3);
});
