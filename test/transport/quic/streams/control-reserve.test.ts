/** What of a connection's credit is left to its control stream. */
import test from 'ava';
import fc from 'fast-check';
import { ControlReserve } from '../../../../src/transport/quic/streams/control-reserve.js';
import { holds } from '../../../protocol/properties.js';

const MIB = 1024 * 1024;

test('of a credit without end nothing is ever missing', (t) => {
  t.is(reserveOf(2 ** 50).room(2 ** 40, MIB), MIB);
});

test('what is known of the credit is handed out but for the reserve', (t) => {
  const reserve = reserveOf(MIB);
  t.is(reserve.bytes, 1024);
  t.is(reserve.room(0, MIB - 1024), MIB - 1024);
  t.is(reserve.room(MIB / 2, MIB), MIB / 2 - 1024);
  // The congestion window says less than is known already.
  reserve.learn(MIB / 2, 100);
  t.is(reserve.room(MIB / 2, MIB), MIB / 2 - 1024);
  reserve.learn(MIB - 1024, 1024);
  t.is(reserve.room(MIB - 1024, 10), 0);
  reserve.learn(MIB - 1024, 2048);
  t.is(reserve.room(MIB - 1024, 10), 10);
  t.is(reserve.room(MIB - 1024, 5000), 1024);
  t.is(reserve.room(MIB, 5000), 0);
});

test('small windows have small reserves', (t) => {
  t.is(new ControlReserve({ ...windows(MIB), peerInitialMaxStreamDataBidiLocal: 800 }).bytes, 50);
  t.is(new ControlReserve({ ...windows(MIB), peerInitialMaxStreamDataBidiRemote: 0 }).bytes, 1024);
  t.is(reserveOf(1000).bytes, 62);
});

test('whoever grants at three quarters of his window gets everything, and the reserve stays', (t) => {
  holds(
    t,
    fc.property(
      fc.integer({ min: 100, max: 4 * MIB }),
      fc.array(fc.integer({ min: 1, max: MIB }), { minLength: 1 }),
      fc.array(fc.integer({ min: 0, max: MIB }), { minLength: 1 }),
      (window, writes, congestion) => {
        const reserve = reserveOf(window);
        const total = 8 * window;
        let [handed, credit, turn] = [0, window, 0];
        while (handed < total) {
          const piece = Math.max(writes[turn % writes.length] as number, Math.ceil(window / 100));
          const wanted = Math.min(total - handed, piece);
          // Now and then the congestion window is closed, but not for ever.
          const open = (congestion[turn % congestion.length] as number) + (turn % 2) * window;
          if (reserve.room(handed, wanted) < wanted) {
            reserve.learn(handed, Math.min(open, credit - handed));
          }
          handed += reserve.room(handed, wanted);
          if (credit - handed < reserve.bytes) return false;
          if (handed >= credit - window / 4) credit = handed + window;
          turn += 1;
          if (turn > 10_000) return false;
        }
        return true;
      },
    ),
  );
});

function reserveOf(connectionBytes: number): ControlReserve {
  return new ControlReserve(windows(connectionBytes));
}

function windows(peerInitialMaxData: number) {
  return {
    peerInitialMaxData,
    peerInitialMaxStreamDataBidiLocal: MIB,
    peerInitialMaxStreamDataBidiRemote: MIB,
  };
}
