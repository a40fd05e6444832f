import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { HandshakeTurns } from '../../../src/transport/admission/handshake-turns.js';

test('a step runs at once while its turn has time, and those behind a full turn run in later ones, in order', async (t) => {
  const turns = new HandshakeTurns({ turnMs: 0, maxWaiting: 10 });
  const ran: number[] = [];
  for (const step of [1, 2, 3]) t.true(turns.take(() => ran.push(step)));
  t.deepEqual(ran, [1]);
  await nextTurn();
  t.deepEqual(ran, [1, 2]);
  turns.take(() => ran.push(4));
  await nextTurn();
  t.deepEqual(ran, [1, 2, 3]);
  await nextTurn();
  t.deepEqual(ran, [1, 2, 3, 4]);
});

test('steps that cost little share a turn', async (t) => {
  const turns = new HandshakeTurns({ turnMs: 10_000, maxWaiting: 0 });
  let ran = 0;
  for (let step = 0; step < 100; step += 1) {
    t.true(
      turns.take(() => {
        ran += 1;
      }),
    );
  }
  t.is(ran, 100);
  await nextTurn();
  turns.take(() => {
    ran += 1;
  });
  t.is(ran, 101);
});

test('what arrives while steps wait comes between them', async (t) => {
  const turns = new HandshakeTurns({ turnMs: 0, maxWaiting: 100 });
  let ran = 0;
  for (let step = 0; step < 50; step += 1) {
    turns.take(() => {
      ran += 1;
    });
  }
  for (let turn = 1; turn <= 50; turn += 1) {
    t.is(ran, turn);
    await nextTurn();
  }
});

test('so many steps wait, and no more are taken until some have run', async (t) => {
  const turns = new HandshakeTurns({ turnMs: 0, maxWaiting: 2 });
  const ran: number[] = [];
  const taken = [1, 2, 3, 4].map((step) => turns.take(() => ran.push(step)));
  t.deepEqual(taken, [true, true, true, false]);
  await nextTurn();
  t.true(turns.take(() => ran.push(5)));
  t.false(turns.take(() => ran.push(6)));
  while (ran.length < 4) await nextTurn();
  t.deepEqual(ran, [1, 2, 3, 5]);
});

test('steps that steps bring about wait behind the others', async (t) => {
  const turns = new HandshakeTurns({ turnMs: 0, maxWaiting: 10 });
  const ran: string[] = [];
  turns.take(() => {
    ran.push('first');
    turns.take(() => ran.push('of the first'));
  });
  turns.take(() => ran.push('second'));
  while (ran.length < 3) await nextTurn();
  t.deepEqual(ran, ['first', 'of the first', 'second']);
});
