import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { HandshakeQueue } from '../../../../src/transport/quic/admission/handshake-queue.js';

/** Takes all the time that a turn has. */
function useUpTurn(): void {
  const untilMs = performance.now() + 5;
  while (performance.now() < untilMs);
}

for (const [bytes, most] of [
  [1200, 1024],
  [65_000, 64],
] as const) {
  test(`of datagrams of ${bytes} bytes ${most} wait`, async (t) => {
    const queue = new HandshakeQueue();
    queue.take(bytes, useUpTurn);
    let received = 0;
    let taken = 0;
    const receive = () => {
      received += 1;
    };
    while (queue.take(bytes, receive)) taken += 1;
    t.is(taken, most);
    while (received < taken) await nextTurn();
    t.true(queue.take(bytes, receive));
    t.is(received, taken + 1);
  });
}
