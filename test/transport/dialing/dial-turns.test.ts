import test from 'ava';
import { DialTurns } from '../../../src/transport/dialing/dial-turns.js';

test('failures count for each target, by node id, or by its addresses', (t) => {
  const turns = new DialTurns();
  const addresses = [{ host: 'a.example', port: 1 }, { host: 'b.example' }];
  t.is(turns.of({ nodeId: 'n1', addresses }), 0);
  turns.failed({ nodeId: 'n1', addresses });
  turns.failed({ nodeId: 'n1', host: '10.0.0.1', port: 2 });
  t.is(turns.of({ nodeId: 'n1', addresses }), 2);
  t.is(turns.of({ nodeId: 'n2', addresses }), 0);
  turns.failed({ addresses });
  t.is(turns.of({ addresses }), 1);
  t.is(turns.of({ host: 'a.example', port: 1 }), 0);
});

test('no more than 1,024 targets are remembered, and the one that failed longest ago is forgotten first', (t) => {
  const turns = new DialTurns();
  const target = (i: number) => ({ nodeId: `n${i}`, addresses: [] });
  for (let i = 0; i < 5000; i += 1) {
    turns.failed(target(0));
    turns.failed(target(i));
    t.true(turns.size <= 1024);
  }
  t.is(turns.size, 1024);
  t.is(turns.of(target(0)), 5001);
  t.is(turns.of(target(1)), 0);
  t.is(turns.of(target(4999)), 1);
});
