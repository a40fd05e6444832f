import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { ReadingTurns, TURN_MS } from '../../src/transport/reading-turns.js';

test('all connections of a peer share one turn, and those of others have their own', (t) => {
  const turns = new ReadingTurns(() => 0);
  const first = turns.join('n1');
  const second = turns.join('n1');
  const other = turns.join('n2');
  t.is(first.untilMs(100), 100 + TURN_MS);
  first.spend(TURN_MS / 2);
  t.is(second.untilMs(200), 200 + TURN_MS / 2);
  second.spend(5);
  t.is(first.untilMs(300), 300);
  t.is(other.untilMs(300), 300 + TURN_MS);
});

test('the next turn is a whole one', async (t) => {
  const share = new ReadingTurns(() => 0).join('n1');
  for (let turn = 0; turn < 3; turn += 1) {
    share.spend(TURN_MS);
    t.is(share.untilMs(0), 0);
    await nextTurn();
    t.is(share.untilMs(0), TURN_MS);
  }
});

test('readers wait in order, and a turn that is spent calls no more of them', async (t) => {
  const share = new ReadingTurns(() => 0).join('n1');
  const called: number[] = [];
  for (const reader of [1, 2, 3, 4]) {
    share.wait(() => {
      called.push(reader);
      share.spend(TURN_MS / 2);
    });
  }
  t.deepEqual(called, []);
  await nextTurn();
  t.deepEqual(called, [1, 2]);
  await nextTurn();
  t.deepEqual(called, [1, 2, 3, 4]);
});

test("where a turn takes long for other work, a peer has a share of that, and of no other peer's", async (t) => {
  let nowMs = 0;
  const now = () => nowMs;
  const turns = new ReadingTurns(now, now);
  const [share, other] = [turns.join('n1'), turns.join('n2')];
  const seen: number[] = [];
  const read = (): void => {
    seen.push(share.untilMs(0));
    if (seen.length < 4) share.wait(read);
  };
  share.wait(read);
  // 20 ms of something else, then 30 ms of which the other peer spends all, then an hour.
  nowMs = 20;
  await nextTurn();
  other.spend(30);
  nowMs = 50;
  await nextTurn();
  nowMs = 3_600_000;
  await nextTurn();
  await nextTurn();
  t.deepEqual(seen, [5, TURN_MS, 25, TURN_MS]);
  t.is(share.untilMs(0), TURN_MS);
});

test("where a turn takes long because the processor is somebody else's, a peer has no more of it", async (t) => {
  let [nowMs, workedMs] = [0, 0];
  const turns = new ReadingTurns(
    () => nowMs,
    () => workedMs,
  );
  const share = turns.join('n1');
  const seen: number[] = [];
  const read = (): void => {
    seen.push(share.untilMs(0));
    if (seen.length < 2) share.wait(read);
  };
  share.wait(read);
  nowMs = 1000;
  await nextTurn();
  nowMs = 2000;
  workedMs = 8;
  await nextTurn();
  t.deepEqual(seen, [TURN_MS, 2]);
});

test('a reader that waits again is called once in a turn, though it spends nothing', async (t) => {
  const share = new ReadingTurns(() => 0).join('n1');
  let calls = 0;
  const read = (): void => {
    calls += 1;
    if (calls < 3) share.wait(read);
  };
  share.wait(read);
  for (let turn = 1; turn < 4; turn += 1) {
    await nextTurn();
    t.is(calls, turn);
  }
});

test('a peer is forgotten with its last connection', (t) => {
  const turns = new ReadingTurns(() => 0);
  const shares = [turns.join('n1'), turns.join('n1')];
  t.is(turns.size, 1);
  for (const share of shares) {
    t.is(turns.size, 1);
    share.leave();
  }
  t.is(turns.size, 0);
  t.not(turns.join('n1'), shares[0]);
});
