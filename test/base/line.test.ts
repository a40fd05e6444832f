/** A line that anybody may leave from anywhere, held against an array. */
import test from 'ava';
import { Line, Place } from '../../src/base/line.js';

test('a line keeps the order of those who come and go', (t) => {
  const line = new Line<Place<number>>();
  const places = Array.from({ length: 40 }, (_, item) => new Place(item));
  let expected: Place<number>[] = [];
  let seed = 1;
  for (let step = 0; step < 5000; step += 1) {
    seed = (seed * 48_271) % 0x7fff_ffff;
    const place = places[seed % places.length] as Place<number>;
    const stood = expected.includes(place);
    if (seed % 3 === 0) {
      t.is(line.remove(place), stood);
      expected = expected.filter((other) => other !== place);
    } else if (seed % 3 === 1 && !stood) {
      line.pushFirst(place);
      expected.unshift(place);
    } else {
      line.push(place);
      if (!stood) expected.push(place);
    }
    t.is(line.has(place), expected.includes(place));
    t.is(line.size, expected.length);
    t.is(line.first, expected[0]);
    t.is(line.last, expected.at(-1));
  }
  t.true(expected.length > 2);
  t.deepEqual(
    [...line].map(({ item }) => item),
    expected.map(({ item }) => item),
  );
  line.clear();
  t.is(line.size, 0);
  t.true(places.every((place) => place.line === undefined && place.after === undefined));
});

test('a walk goes on behind whoever stays, and begins anew where that one has left', (t) => {
  const line = new Line<Place<string>>();
  const [a, b, c] = [new Place('a'), new Place('b'), new Place('c')];
  for (const place of [a, b, c]) line.push(place);
  t.is(line.following(undefined), a);
  t.is(line.following(a), b);
  line.remove(b);
  t.is(line.following(a), c);
  t.is(line.following(b), a);
  t.is(line.following(c), undefined);
});

test('nobody stands in two lines by one place', (t) => {
  const place = new Place(1);
  new Line<Place<number>>().push(place);
  t.throws(() => new Line<Place<number>>().push(place));
});
