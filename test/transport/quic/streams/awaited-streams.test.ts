/** Which stream the next answer is looked for on first. */
import test from 'ava';
import { AwaitedStreams } from '../../../../src/transport/quic/streams/awaited-streams.js';
import type { QuicStream } from '../../../../src/transport/quic/streams/stream.js';

test('the line stays as it is while answers merely change places', (t) => {
  const awaited = new AwaitedStreams();
  const [first, second, third] = streams(3) as [QuicStream, QuicStream, QuicStream];
  for (const stream of [first, second, third]) awaited.add(stream);
  awaited.passOver();
  t.deepEqual([...awaited.values()], [first, second, third]);
  awaited.delete(first);
  for (let turn = 0; turn < 7; turn += 1) awaited.passOver();
  t.is([...awaited.values()][0], second);
});

test('a stream whose answer takes long goes to the end of the line', (t) => {
  const awaited = new AwaitedStreams();
  const [slow, second, third] = streams(3) as [QuicStream, QuicStream, QuicStream];
  for (const stream of [slow, second, third]) awaited.add(stream);
  for (let turn = 0; turn < 8; turn += 1) awaited.passOver();
  t.is([...awaited.values()][0], second);
  t.is([...awaited.values()][2], slow);
  // Each has as many turns of its own.
  for (let turn = 0; turn < 7; turn += 1) awaited.passOver();
  t.is([...awaited.values()][0], second);
});

test('with nobody in line there is nobody to pass over', (t) => {
  const awaited = new AwaitedStreams();
  awaited.passOver();
  t.deepEqual([...awaited.values()], []);
});

function streams(count: number): QuicStream[] {
  return Array.from({ length: count }, (_, id) => ({ id }) as QuicStream);
}
