/** The suites beside this file run over the fork, and a node says so. */
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import { loadBinding } from '../../src/transport/quic/binding/native.js';
import { startNode, targetOf } from '../helpers/nodes.js';

test('the fork serves where the first binding does not load, and a log line names it', async (t) => {
  t.is((await loadBinding()).packageName, '@infisical/quic');
  const lines: { readonly transport?: string; readonly binding?: string }[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const n2 = await startNode(t, 'n2', {
    transports: ['quic'],
    logger: pino({ level: 'info' }, stream),
  });
  n2.handle('query', ({ query }) => ({ result: query }));
  const n1 = await startNode(t, 'n1', { transports: ['quic'] });
  const peer = await n1.connect(targetOf(n2));
  t.is((await peer.request({ type: 'queryRequest', query: 'q' })).result, 'q');
  t.deepEqual(
    lines.flatMap(({ transport, binding }) => (binding === undefined ? [] : [transport, binding])),
    ['quic', '@infisical/quic'],
  );
});
