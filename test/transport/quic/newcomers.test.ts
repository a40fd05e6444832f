import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { Newcomers } from '../../../src/transport/quic/newcomers.js';

/** Takes all the time that a turn has. */
function useUpTurn(): void {
  const untilMs = performance.now() + 5;
  while (performance.now() < untilMs);
}

test('a connection ID is awaited while a datagram for it waits', async (t) => {
  const newcomers = new Newcomers();
  const datagram = Buffer.alloc(1200);
  let received = 0;
  newcomers.take(datagram, 'a', useUpTurn);
  for (let count = 0; count < 2; count += 1) {
    newcomers.take(datagram, 'b', () => {
      received += 1;
      useUpTurn();
    });
  }
  t.false(newcomers.isAwaited('a'));
  t.true(newcomers.isAwaited('b'));
  await nextTurn();
  t.is(received, 1);
  t.true(newcomers.isAwaited('b'));
  await nextTurn();
  t.is(received, 2);
  t.false(newcomers.isAwaited('b'));
});

for (const [bytes, most] of [
  [1200, 1024],
  [65_000, 64],
] as const) {
  test(`of datagrams of ${bytes} bytes ${most} wait`, async (t) => {
    const newcomers = new Newcomers();
    const datagram = Buffer.alloc(bytes);
    newcomers.take(datagram, 'first', useUpTurn);
    let received = 0;
    let taken = 0;
    const receive = () => {
      received += 1;
    };
    while (newcomers.take(datagram, `${taken}`, receive)) taken += 1;
    t.is(taken, most);
    t.false(newcomers.isAwaited(`${taken}`));
    while (received < taken) await nextTurn();
    t.true(newcomers.take(datagram, 'later', receive));
    t.is(received, taken + 1);
  });
}
