import test from 'ava';
import { systemCodeOf } from '../../src/base/realms.js';

test('the code of what was thrown is read of errors, where it is a text', (t) => {
  t.is(systemCodeOf(Object.assign(new Error(''), { code: 'ENOENT' })), 'ENOENT');
  t.is(systemCodeOf(new Error('none')), undefined);
  t.is(systemCodeOf(Object.assign(new Error(''), { code: 20 })), undefined);
  t.is(systemCodeOf({ code: 'ENOENT' }), undefined);
  const { proxy, revoke } = Proxy.revocable(new Error(''), {});
  revoke();
  const throwing = Object.defineProperty(new Error(''), 'code', {
    get: () => {
      throw new Error('a getter that throws');
    },
  });
  for (const thrown of [undefined, null, 'ENOENT', Symbol('odd'), proxy, throwing]) {
    t.is(systemCodeOf(thrown), undefined);
  }
});
