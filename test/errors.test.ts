/** Errors out of whatever was thrown. */
import { inspect } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import test from 'ava';
import {
  asMeshError,
  isLastingRefusal,
  isMismatch,
  isOffence,
  MeshError,
  toMeshError,
  wasNeverAccepted,
} from '../src/errors.js';

const NO_TEXT = 'something that has no text was thrown';

function fail(): never {
  throw new Error('a getter that throws');
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** An error with a getter in the place of that field. */
function withGetter(error: Error, field: string, get: () => unknown): Error {
  return Object.defineProperty(error, field, { get });
}

function meshError(): MeshError {
  return new MeshError('Overloaded', 'too much', { side: 'remote', maybeExecuted: true });
}

/** Whatever a program can throw that is no MeshError, and the text that is made of it. */
const STRANGE: Readonly<Record<string, readonly [thrown: unknown, text: string]>> = {
  undefined: [undefined, 'undefined'],
  null: [null, 'null'],
  'a text': ['out of order', 'out of order'],
  'an empty text': ['', ''],
  'a number': [Number.NaN, 'NaN'],
  'a bigint': [7n, '7'],
  'a boolean': [false, 'false'],
  'a symbol': [Symbol('odd'), 'Symbol(odd)'],
  'a plain object': [{}, '[object Object]'],
  'an object without a prototype': [Object.create(null), NO_TEXT],
  'an object whose toString is a number': [{ toString: 5 }, NO_TEXT],
  'an object whose toString and valueOf are numbers': [{ toString: 5, valueOf: 5 }, NO_TEXT],
  'an object whose toString throws': [{ toString: fail }, NO_TEXT],
  'an object whose toString answers with an object': [{ toString: () => ({}) }, NO_TEXT],
  'an object whose toPrimitive throws': [{ [Symbol.toPrimitive]: fail }, NO_TEXT],
  'a list that holds a symbol': [[Symbol('odd')], NO_TEXT],
  'a function': [Math.max, String(Math.max)],
  'an error': [new TypeError('no function'), 'no function'],
  'an error of another realm': [runInContext("new Error('far')", createContext({})), 'far'],
  'an error whose message is a symbol': [
    Object.assign(new Error('x'), { message: Symbol('odd') }),
    'Symbol(odd)',
  ],
  'an error whose message has no text': [
    Object.assign(new Error('x'), { message: Object.create(null) }),
    NO_TEXT,
  ],
  'an error whose message throws': [withGetter(new Error('x'), 'message', fail), NO_TEXT],
  'an error whose name throws': [withGetter(new Error('named'), 'name', fail), 'named'],
  'an error whose code throws': [withGetter(new Error('coded'), 'code', fail), 'coded'],
  'an error named MeshError whose code throws': [
    withGetter(Object.assign(new Error('coded'), { name: 'MeshError' }), 'code', fail),
    'coded',
  ],
  'an error named MeshError whose code is in no table': [
    Object.assign(new Error('other'), { name: 'MeshError', code: 'constructor' }),
    'other',
  ],
  'an error named MeshError whose code is an object': [
    Object.assign(new Error('other'), { name: 'MeshError', code: { toString: fail } }),
    'other',
  ],
  'an error named MeshError whose message has no text': [
    Object.assign(new Error('x'), {
      name: 'MeshError',
      code: 'NoError',
      message: { toString: 5, valueOf: 5 },
    }),
    NO_TEXT,
  ],
  'a revoked proxy of an object': [revoked({}), NO_TEXT],
  'a revoked proxy of an error': [revoked(new Error('x')), NO_TEXT],
  'a revoked proxy of a MeshError': [revoked(meshError()), NO_TEXT],
  'a revoked proxy of a function': [revoked(fail), NO_TEXT],
  'a proxy whose traps throw': [
    new Proxy(meshError(), { get: fail, getPrototypeOf: fail, getOwnPropertyDescriptor: fail }),
    NO_TEXT,
  ],
  'an object that inherits from MeshError and has nothing of it': [
    Object.create(MeshError.prototype),
    '',
  ],
  'a MeshError whose code throws': [withGetter(meshError(), 'code', fail), 'too much'],
  'a MeshError whose message throws': [withGetter(meshError(), 'message', fail), NO_TEXT],
  'a MeshError whose code was taken away': [
    Object.defineProperty(meshError(), 'code', { value: undefined }),
    'too much',
  ],
};

for (const [what, [thrown, text]] of Object.entries(STRANGE)) {
  test(`${what} is wrapped as an error with the code that is asked for`, (t) => {
    t.is(asMeshError(thrown), undefined);
    const error = toMeshError(thrown, 'HandlerFailed');
    t.true(error instanceof MeshError);
    t.is(error.code, 'HandlerFailed');
    t.is(error.message, text);
    t.is(error.side, 'local');
    t.false(error.retryable);
    t.true(Object.is(error.cause, thrown));
    t.is(toMeshError(error), error);
    t.is(toMeshError(thrown).code, 'InternalError');
  });
}

test('a MeshError stays itself, whatever code is asked for', (t) => {
  const error = meshError();
  t.is(toMeshError(error, 'Cancelled'), error);
  t.is(asMeshError(error), error);
  class Narrow extends MeshError {}
  const narrow = new Narrow('Cancelled', '');
  t.is(toMeshError(narrow), narrow);
});

/** Errors that are a MeshError's likeness, and cannot be relied on as they are. */
const LIKE: Readonly<Record<string, () => unknown>> = {
  'one of another copy of the package': () =>
    Object.assign(new Error('too much'), {
      name: 'MeshError',
      code: 'Overloaded',
      side: 'remote',
      retryable: true,
      maybeExecuted: true,
    }),
  'a proxy of one': () => new Proxy(meshError(), {}),
  'one with a getter for its code': () => withGetter(meshError(), 'code', () => 'Overloaded'),
  'one with a getter for its message': () => withGetter(meshError(), 'message', () => 'too much'),
};

for (const [what, make] of Object.entries(LIKE)) {
  test(`what is like a MeshError becomes one, as a copy: ${what}`, (t) => {
    const thrown = make();
    const error = toMeshError(thrown, 'HandlerFailed');
    t.true(Object.is(error.cause, thrown));
    t.like(error, { name: 'MeshError', code: 'Overloaded', message: 'too much', side: 'remote' });
    t.true(error.retryable);
    t.true(error.maybeExecuted);
  });
}

test('a copy takes nothing on trust', (t) => {
  const error = toMeshError(
    Object.assign(new Error('odd'), {
      name: 'MeshError',
      code: 'Overloaded',
      side: 5,
      retryable: 'yes',
    }),
  );
  t.like(error, { code: 'Overloaded', side: 'local', retryable: false, maybeExecuted: false });
});

test('a getter that throws only later does not reach whoever reads the error', (t) => {
  let looks = 0;
  const thrown = withGetter(meshError(), 'code', () => {
    looks += 1;
    return looks > 1 ? fail() : 'Overloaded';
  });
  const error = toMeshError(thrown);
  t.is(error.code, 'Overloaded');
  t.is(error.code, 'Overloaded');
  t.notThrows(() => inspect(error.message));
});

test('some verdicts go by the side that closed as well', (t) => {
  const local = (code: MeshError['code']) => new MeshError(code, '');
  const remote = (code: MeshError['code']) => new MeshError(code, '', { side: 'remote' });
  t.true(isOffence(local('HandshakeRepeated')));
  t.false(isOffence(remote('HandshakeRepeated')));
  t.true(wasNeverAccepted(remote('ClusterMismatch')));
  t.false(wasNeverAccepted(local('ClusterMismatch')));
  t.false(wasNeverAccepted(remote('GoingAway')));
  t.true(isMismatch(local('CertificateNameMismatch')));
  t.false(isMismatch(remote('CertificateNameMismatch')));
  t.true(isLastingRefusal(remote('CertificateNameMismatch')));
  t.false(isLastingRefusal(remote('NodeIdMismatch')));
  t.false(isLastingRefusal(remote('Overloaded')));
  t.false(isLastingRefusal(local('ClusterMismatch')));
});
