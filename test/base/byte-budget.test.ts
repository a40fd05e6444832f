/** The account of bytes in flight: who may begin, who waits, and that nobody is forgotten. */
import test from 'ava';
import fc from 'fast-check';
import { type BudgetWaiter, ByteBudget, ByteTotal } from '../../src/base/byte-budget.js';
import { MeshError } from '../../src/errors.js';
import { holds } from '../protocol/properties.js';

class Waiter implements BudgetWaiter {
  outcome: 'waiting' | 'proceeded' | MeshError = 'waiting';
  readonly #bytes: number;
  readonly #budget: ByteBudget;

  constructor(budget: ByteBudget, bytes: number) {
    this.#budget = budget;
    this.#bytes = bytes;
  }

  proceed(): void {
    this.outcome = 'proceeded';
    this.#budget.take(this.#bytes);
  }

  fail(error: MeshError): void {
    this.outcome = error;
  }
}

test('a call may begin while there is room at all, so that a large one is not stuck', (t) => {
  const budget = new ByteBudget(100);
  budget.take(99);
  t.true(budget.hasRoom);
  budget.take(1000);
  t.false(budget.hasRoom);
  budget.give(1000);
  t.true(budget.hasRoom);
});

test('urgent calls have a quarter more, and wait behind nobody', (t) => {
  const budget = new ByteBudget(100);
  budget.take(100);
  budget.wait(new Waiter(budget, 1));
  t.false(budget.hasRoom);
  t.true(budget.hasRoomFor(true));
  budget.take(25);
  t.false(budget.hasRoomFor(true));
});

test('budgets with a total have room while all of them together have', (t) => {
  const node = new ByteBudget(1000);
  const total = new ByteTotal(200);
  const [calls, parts, chunks] = [1, 2, 3].map(() => new ByteBudget(100, node, total)) as [
    ByteBudget,
    ByteBudget,
    ByteBudget,
  ];
  const connection = new ByteBudget(100, chunks);
  calls.take(99);
  parts.take(100);
  t.true(calls.hasRoom);
  t.true(connection.hasRoom);
  connection.take(1);
  for (const each of [calls, connection]) {
    t.false(each.hasRoom);
    t.true(each.hasRoomFor(true), 'what is urgent has a quarter more');
  }
  connection.take(50);
  t.false(calls.hasRoomFor(true));
  t.false(connection.hasRoomFor(true));
  parts.give(100);
  for (const each of [calls, connection]) t.true(each.hasRoom);
  connection.give(51);
  calls.give(99);
  t.is(total.usedBytes, 0);
  t.is(node.usedBytes, 0);
});

test('those who wait go on in order, as far as there is room', (t) => {
  const budget = new ByteBudget(100);
  budget.take(100);
  const waiters = [60, 60, 1].map((bytes) => new Waiter(budget, bytes));
  for (const waiter of waiters) budget.wait(waiter);
  budget.give(100);
  t.deepEqual(
    waiters.map(({ outcome }) => outcome),
    ['proceeded', 'proceeded', 'waiting'],
  );
  budget.give(60);
  t.is(waiters[2]?.outcome, 'proceeded');
  t.is(budget.usedBytes, 61);
});

test('whoever comes while others wait, waits too', (t) => {
  const budget = new ByteBudget(100);
  budget.take(100);
  const first = new Waiter(budget, 10);
  budget.wait(first);
  t.false(budget.hasRoom);
  budget.leave(first);
  budget.give(50);
  t.true(budget.hasRoom);
  t.is(first.outcome, 'waiting');
});

test('when a budget is over, its waiters hear of it', (t) => {
  const node = new ByteBudget(10);
  const connection = new ByteBudget(100, node);
  connection.take(10);
  const waiter = new Waiter(connection, 1);
  connection.wait(waiter);
  const error = new MeshError('ConnectionLost', 'gone');
  connection.failAll(error);
  t.is(waiter.outcome, error);
  connection.give(10);
  t.is(waiter.outcome, error);
});

test('a peer that waits for room of the node is served when another gives back', (t) => {
  const node = new ByteBudget(100);
  const [first, second] = [0, 1].map(() => new ByteBudget(80, node)) as [ByteBudget, ByteBudget];
  const connection = new ByteBudget(80, second);
  first.take(60);
  connection.take(60);
  const waiter = new Waiter(connection, 10);
  connection.wait(waiter);
  t.is(waiter.outcome, 'waiting');
  first.give(60);
  t.is(waiter.outcome, 'proceeded');
});

test('what a peer has taken leaves the others their share, also of what is urgent', (t) => {
  const node = new ByteBudget(400);
  const greedy = new ByteBudget(100, node);
  const connections = [0, 1, 2].map(() => new ByteBudget(100, greedy));
  for (const budget of connections) {
    while (budget.hasRoomFor(true)) budget.take(5);
  }
  t.is(greedy.usedBytes, 125);
  const other = new ByteBudget(100, new ByteBudget(100, node));
  while (other.hasRoom) other.take(10);
  t.is(other.usedBytes, 100);
});

test('random walks over a node, its peers and their connections: nobody waits while there is room, limits hold but for one message, and all is given back', (t) => {
  const step = fc.record({
    connection: fc.nat(4),
    kind: fc.constantFrom('call', 'settle', 'leave', 'lose'),
    bytes: fc.integer({ min: 1, max: 60 }),
    pick: fc.nat(1000),
  });
  holds(
    t,
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const node = new ByteBudget(150);
      const peers = [0, 1].map(() => new ByteBudget(120, node));
      const connections = [0, 0, 0, 1, 1].map((peer) => ({
        peer: peers[peer] as ByteBudget,
        budget: new ByteBudget(100, peers[peer]),
        waiting: [] as Waiter[],
        held: [] as number[],
      }));
      for (const { connection, kind, bytes, pick } of steps) {
        const { budget, waiting, held } = connections[connection] as (typeof connections)[number];
        if (kind === 'call' && budget.hasRoom) {
          budget.take(bytes);
          held.push(bytes);
        } else if (kind === 'call') {
          const waiter = new Waiter(budget, bytes);
          const proceed = waiter.proceed.bind(waiter);
          waiter.proceed = () => {
            proceed();
            held.push(bytes);
          };
          waiting.push(waiter);
          budget.wait(waiter);
        } else if (kind === 'settle' && held.length > 0) {
          budget.give(held.splice(pick % held.length, 1)[0] as number);
        } else if (kind === 'leave' && waiting.length > 0) {
          budget.leave(waiting.splice(pick % waiting.length, 1)[0] as Waiter);
        } else if (kind === 'lose') {
          budget.failAll(new MeshError('ConnectionLost', 'gone'));
          for (const size of held.splice(0)) budget.give(size);
        }
        for (const each of connections) {
          each.waiting = each.waiting.filter(({ outcome }) => outcome === 'waiting');
          const sum = each.held.reduce((total, size) => total + size, 0);
          const isFree =
            each.budget.usedBytes < 100 && each.peer.usedBytes < 120 && node.usedBytes < 150;
          if (each.budget.usedBytes !== sum) return false;
          if (each.budget.waiters !== each.waiting.length) return false;
          if (isFree && each.waiting.length > 0) return false;
          if (each.budget.usedBytes >= 160 || each.peer.usedBytes >= 180) return false;
        }
        if (node.usedBytes >= 210) return false;
      }
      // Every way out gives back: whoever waited is served or hears of the end.
      for (const { budget } of connections) {
        budget.failAll(new MeshError('ConnectionLost', 'gone'));
      }
      for (const { budget, held } of connections) {
        for (const size of held.splice(0)) budget.give(size);
      }
      return [node, ...peers].every(({ usedBytes }) => usedBytes === 0);
    }),
    500,
  );
});
