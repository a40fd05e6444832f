import test from 'ava';
import { isSameMaterial } from '../../../src/transport/trust/tls-material.js';

const material = { ca: 'a', cert: 'b', key: 'c' };

test('material is the same when every text and list in it is', (t) => {
  t.true(isSameMaterial(material, material));
  t.true(isSameMaterial(material, { ...material }));
  t.true(isSameMaterial({ ...material, revoked: ['1'] }, { ...material, revoked: ['1'] }));
  t.true(isSameMaterial({ ...material, crl: ['x', 'y'] }, { ...material, crl: ['x', 'y'] }));
});

for (const [name, change] of Object.entries({
  ca: { ca: 'other' },
  cert: { cert: 'other' },
  key: { key: 'other' },
  revoked: { revoked: ['2'] },
  'more revoked': { revoked: ['1', '2'] },
  crl: { crl: 'x' },
  'crl in memory': { crl: new Uint8Array(1) },
})) {
  test(`material is another when it differs in ${name}`, (t) => {
    t.false(
      isSameMaterial({ ...material, revoked: ['1'] }, { ...material, revoked: ['1'], ...change }),
    );
  });
}
