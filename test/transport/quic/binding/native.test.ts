/** Which binding serves, and what becomes of a node without one. */
import { register } from 'node:module';
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import { loadBinding } from '../../../../src/transport/quic/binding/native.js';
import { startNode, targetOf } from '../../../helpers/nodes.js';

const PACKAGES = ['@matrixai/quic', '@infisical/quic'];

register('../../../bindings/hooks.js', import.meta.url, { data: { refused: PACKAGES } });

test('without a binding the error names all that were tried, and why none loads', async (t) => {
  const error = await t.throwsAsync(loadBinding(), { code: 'TransportUnavailable' });
  const { errors } = error!.cause as AggregateError;
  t.is(errors.length, PACKAGES.length);
  for (const [i, name] of PACKAGES.entries()) {
    t.true(error!.message.includes(name));
    t.regex(errors[i].message, new RegExp(`no build of ${name}`));
  }
});

test('without a binding TCP serves, and a log line says so', async (t) => {
  const lines: { readonly transport?: string; readonly code?: string }[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const n2 = await startNode(t, 'n2', { logger: pino({ level: 'info' }, stream) });
  n2.handle('query', ({ query }) => ({ result: query }));
  const n1 = await startNode(t, 'n1');
  const peer = await n1.connect(targetOf(n2));
  t.is((await peer.request({ type: 'queryRequest', query: 'q' })).result, 'q');
  t.is(peer.transport, 'tcp');
  const told = lines.filter(({ code }) => code === 'TransportUnavailable');
  t.deepEqual(
    told.map(({ transport }) => transport),
    ['quic'],
  );
});

test('a node over QUIC alone does not start without a binding', async (t) => {
  await t.throwsAsync(startNode(t, 'n3', { transports: ['quic'] }), {
    code: 'TransportUnavailable',
  });
});
