/** Who counts for which source, and how many of them there are. */
import test from 'ava';
import { HalfOpenCount, sourceOf } from '../../../src/transport/admission/half-open.js';

test('an IPv4 address is a source of its own, however it is written', (t) => {
  t.is(sourceOf('192.0.2.1'), '192.0.2.1');
  t.is(sourceOf('::ffff:192.0.2.1'), '192.0.2.1');
  t.not(sourceOf('192.0.2.1'), sourceOf('192.0.2.2'));
});

test('an IPv6 network of 64 bits is one source', (t) => {
  const one = sourceOf('2001:db8:0:1::1');
  for (const same of [
    '2001:db8:0:1::2',
    '2001:DB8:0:1:ffff:ffff:ffff:ffff',
    '2001:0db8:0000:0001:0:0:0:7',
    '2001:db8:0:1:0:5efe:192.0.2.1',
    '2001:db8:0:1::1%eth0',
  ]) {
    t.is(sourceOf(same), one, same);
  }
  for (const other of ['2001:db8:0:2::1', '2001:db8::1', '2001:db8::1:0:0:1', '::1']) {
    t.not(sourceOf(other), one, other);
  }
  t.is(sourceOf('::'), sourceOf('::1'));
  t.is(sourceOf('fe80::1%lo'), sourceOf('fe80::2'));
});

test('who leaves makes room, for everybody and for their source', (t) => {
  const count = new HalfOpenCount();
  for (const source of ['a', 'a', 'b']) count.enter(source);
  t.deepEqual([count.total, count.of('a'), count.of('b'), count.of('c')], [3, 2, 1, 0]);
  count.leave('a');
  count.leave('b');
  t.deepEqual([count.total, count.of('a'), count.of('b')], [1, 1, 0]);
});
