import test from 'ava';
import { PeerRates } from '../../src/transport/peer-rates.js';

const LIMITS = { streamOpensPerSecond: 10, streamResetsPerSecond: 5 };

test('all connections of a peer count together, those after a reconnection too, and others apart', (t) => {
  const rates = new PeerRates(LIMITS);
  const [first, second] = [rates.of('n1'), rates.of('n1')];
  for (let count = 0; count < 5; count += 1) {
    (count % 2 === 0 ? first : second).reset(0);
    (count % 2 === 0 ? first : second).opened(0);
    rates.of('n1').opened(0);
  }
  t.throws(() => second.reset(0), { code: 'Overloaded' });
  t.throws(() => second.opened(0), { code: 'Overloaded' });
  t.throws(() => rates.of('n1').reset(100), { code: 'Overloaded' });
  rates.of('n2').reset(0);
  rates.of('n1').reset(200);
  t.throws(() => first.reset(200), { code: 'Overloaded' });
});

test('the peer that connected the longest ago is forgotten first, and few enough are remembered', (t) => {
  const rates = new PeerRates(LIMITS);
  const [old, recent] = [rates.of('old'), rates.of('recent')];
  for (let peer = 0; peer < 4095; peer += 1) {
    rates.of(`n${peer}`);
    t.is(rates.of('recent'), recent);
  }
  t.is(rates.size, 4096);
  t.not(rates.of('old'), old);
  t.is(rates.size, 4096);
});
