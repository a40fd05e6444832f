/** When a congestion window that is not full may grow all the same. Over a real path: `round-trips.fault.ts`. */
import test from 'ava';
import { RestartWindow } from '../../../../src/transport/quic/connection/restart-window.js';

const INITIAL_BYTES = 54_000;
const UNIT_BYTES = 5400;

/** Nothing was lost. */
function small(windowBytes: number, unitBytes: number) {
  return { windowBytes, unitBytes, sent: 0, lost: 0 };
}

test('a window below the initial one is claimed full once for whatever was sent', (t) => {
  const window = new RestartWindow(INITIAL_BYTES);
  t.false(window.takeClaim(100));
  window.look(small(INITIAL_BYTES - 1, UNIT_BYTES));
  t.true(window.takeClaim(100));
  t.false(window.takeClaim(100));
  t.true(window.takeClaim(101));
});

test('the initial window is ten units where those are large, and no window beyond it is claimed full', (t) => {
  const window = new RestartWindow(INITIAL_BYTES);
  window.look(small(INITIAL_BYTES, UNIT_BYTES));
  t.false(window.takeClaim(100));
  window.look(small(INITIAL_BYTES, 2 * UNIT_BYTES));
  t.true(window.takeClaim(100));
  window.look(small(10 * 2 * UNIT_BYTES, 2 * UNIT_BYTES));
  t.false(window.takeClaim(200));
});

test('a look is due after 64 datagrams', (t) => {
  const window = new RestartWindow(INITIAL_BYTES);
  const due = () => Array.from({ length: 64 }, () => window.arrives()).indexOf(true);
  t.is(due(), 63);
  t.true(window.arrives());
  window.look(small(INITIAL_BYTES, UNIT_BYTES));
  t.is(due(), 63);
});

test('a window is not claimed full while the path swallows what is sent', (t) => {
  const window = new RestartWindow(INITIAL_BYTES);
  const look = (sent: number, lost: number) =>
    window.look({ windowBytes: UNIT_BYTES, unitBytes: UNIT_BYTES, sent, lost });
  look(100, 60);
  t.false(window.takeClaim(1));
  // Of one hundred more, ten were lost; then most of ten, which is too little to tell.
  look(200, 70);
  t.true(window.takeClaim(2));
  look(210, 77);
  t.true(window.takeClaim(3));
  look(300, 110);
  t.false(window.takeClaim(4));
});
