import test from 'ava';
import { DelayWindow, MIN_WINDOW_BYTES } from '../../../src/transport/priority/delay-window.js';

const CHUNK_BYTES = 16 * 1024;
const STEP_MS = 0.1;
/** Well beyond the first look at the empty path, and over one or two later ones. */
const DURATION_MS = 25_000;

interface Link {
  readonly bytesPerMs: number;
  readonly delayMs: number;
}

interface Outcome {
  /** Of what the link carries. */
  readonly share: number;
  /** What a frame would have waited for those before it, at the median of all times. */
  readonly queueMs: number;
}

/** A sender that has always more to send, on a link with a queue that holds everything. */
function simulate({ bytesPerMs, delayMs }: Link): Outcome {
  const window = new DelayWindow(0, 0);
  const underWay: { total: number; atMs: number }[] = [];
  const queues: number[] = [];
  let total = 0;
  let freeMs = 0;
  let arrivedLate = 0;
  for (let nowMs = 0; nowMs < DURATION_MS; nowMs += STEP_MS) {
    while ((underWay[0]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs) {
      const { total: arrived } = underWay.shift() as { total: number };
      window.arrived(arrived, nowMs);
      if (nowMs > DURATION_MS / 5) arrivedLate += CHUNK_BYTES;
    }
    while (window.roomBytes(nowMs) > 0) {
      total += CHUNK_BYTES;
      window.sent(total, nowMs);
      freeMs = Math.max(freeMs, nowMs) + CHUNK_BYTES / bytesPerMs;
      underWay.push({ total, atMs: freeMs + delayMs });
    }
    queues.push(Math.max(0, freeMs - nowMs));
  }
  queues.sort((a, b) => a - b);
  return {
    share: arrivedLate / (bytesPerMs * DURATION_MS * 0.8),
    queueMs: queues[queues.length >> 1] as number,
  };
}

for (const [name, link, mostMs] of [
  ['loopback', { bytesPerMs: 300_000, delayMs: 0.5 }, 6],
  ['a network of 1 Gbit/s', { bytesPerMs: 125_000, delayMs: 1 }, 6],
  ['another region, 20 ms away', { bytesPerMs: 60_000, delayMs: 20 }, 10],
  ['a slow link, for which the smallest window is much', { bytesPerMs: 5000, delayMs: 2 }, 30],
] as const) {
  test(`bulk data keeps ${name} busy, and the queue before others short`, (t) => {
    const { share, queueMs } = simulate(link);
    t.log(`${(100 * share).toFixed(1)} % used, queue of ${queueMs.toFixed(1)} ms`);
    t.true(share > 0.85, `${share}`);
    t.true(queueMs < mostMs, `${queueMs}`);
  });
}

test('the window never closes below its least, whatever delays say', (t) => {
  const window = new DelayWindow(0, 0);
  let total = 0;
  for (let nowMs = 0; nowMs < 60_000; nowMs += 1000) {
    t.true(window.roomBytes(nowMs) >= MIN_WINDOW_BYTES);
    total += MIN_WINDOW_BYTES;
    window.sent(total, nowMs);
    t.true(window.roomBytes(nowMs) <= 16 * 1024 * 1024);
    window.arrived(total, nowMs + (nowMs % 7) * 100);
  }
});

test('what is under way from before counts', (t) => {
  const window = new DelayWindow(10 * MIN_WINDOW_BYTES, 0);
  t.true(window.roomBytes(0) <= 0);
  window.arrived(10 * MIN_WINDOW_BYTES, 5);
  t.is(window.roomBytes(5), MIN_WINDOW_BYTES);
});
