import test from 'ava';
import { type OpenTransfer, OpenTransfers } from '../../../src/calls/transfers/open-transfers.js';
import { until } from '../../helpers/until.js';

class FakeTransfer implements OpenTransfer {
  isHeldUp = true;
  isUnread = false;
  progress = 0;
  isGivenUp = false;
  readonly #list: OpenTransfers;

  constructor(list: OpenTransfers) {
    this.#list = list;
    list.add(this);
  }

  giveUp(): void {
    this.isGivenUp = true;
    this.#list.delete(this);
  }
}

test('what nobody has begun to read is given up at once, also where it is held up only later', async (t) => {
  const list = new OpenTransfers();
  const unread = new FakeTransfer(list);
  unread.isUnread = true;
  const flowing = new FakeTransfer(list);
  flowing.isUnread = true;
  flowing.isHeldUp = false;
  const stop = list.giveUpStalled(3_600_000);
  t.true(unread.isGivenUp);
  t.false(flowing.isGivenUp);
  flowing.isHeldUp = true;
  await until(() => flowing.isGivenUp);
  t.is(list.size, 0);
  stop();
});

test('one that stands still is given up after a while, and one that moves is not', (t) => {
  const list = new OpenTransfers();
  const still = new FakeTransfer(list);
  const moving = new FakeTransfer(list);
  const busy = new FakeTransfer(list);
  busy.isHeldUp = false;
  for (let nowMs = 0; nowMs < 1000; nowMs += 50) {
    list.look(1000, nowMs);
    moving.progress += 1;
    t.false(still.isGivenUp);
  }
  list.look(1000, 1000);
  t.deepEqual([still.isGivenUp, moving.isGivenUp, busy.isGivenUp], [true, false, false]);
  list.look(1000, 1999);
  t.false(moving.isGivenUp);
  list.look(1000, 2000);
  t.true(moving.isGivenUp);
  busy.isHeldUp = true;
  list.look(1000, 2500);
  t.false(busy.isGivenUp, 'it flowed until now');
});
