/** What user code may throw, or reject with, at its oddest. Each is made anew. */

function refuse(): never {
  throw new Error('asked of an odd value');
}

/** Every question about it throws. */
export function hostileProxy(target: object = () => {}): object {
  const traps: Record<string, () => never> = {};
  for (const trap of Object.getOwnPropertyNames(Reflect)) traps[trap] = refuse;
  return new Proxy(target, traps);
}

export function revokedProxy(target: object = {}): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const FIELDS = [
  'stack',
  'name',
  'message',
  'cause',
  'code',
  'side',
  'then',
  'constructor',
  'toString',
  'toJSON',
];

function guarded<T extends object>(value: T): T {
  for (const name of [...FIELDS, Symbol.toPrimitive, Symbol.toStringTag, Symbol.iterator]) {
    Object.defineProperty(value, name, { get: refuse });
  }
  return value;
}

type Then = (ok: (value: unknown) => void, no: (reason: unknown) => void) => void;

export function thenable(then: Then): object {
  return Object.defineProperty({}, 'then', { value: then });
}

export const ODD_VALUES: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  'an empty text': () => '',
  'a long text': () => 'x'.repeat(1_000_000),
  'a symbol': () => Symbol('odd'),
  'a bigint': () => 1n,
  NaN: () => Number.NaN,
  'a function': () => () => {},
  'an object without a prototype': () => Object.create(null),
  'a frozen object': () => Object.freeze({ message: 'frozen' }),
  'a frozen error': () => Object.freeze(new Error('frozen')),
  'an object whose toString throws': () => ({ toString: refuse }),
  'an object whose toString is no function': () => ({ toString: 1, valueOf: 1 }),
  'an object of which every field throws': () => guarded({}),
  'an error of which every field throws': () => guarded(new Error('guarded')),
  'an error whose message is an odd object': () =>
    Object.defineProperty(new Error('e'), 'message', { value: { toString: refuse } }),
  'an error whose message is a symbol': () =>
    Object.defineProperty(new Error('e'), 'message', { value: Symbol('odd') }),
  'an error whose cause is itself': () => {
    const error: Error & { cause?: unknown } = new Error('round');
    error.cause = error;
    return error;
  },
  'a proxy that refuses all': () => hostileProxy(),
  'a proxy of an error that refuses all': () => hostileProxy(new Error('hidden')),
  'a revoked proxy': () => revokedProxy(),
  'a revoked proxy of an error': () => revokedProxy(new Error('hidden')),
  'a thenable whose then throws': () => thenable(refuse),
  'a thenable that refuses': () => thenable((_ok, no) => no(null)),
  'a thenable of which then is asked in vain': () =>
    Object.defineProperty({}, 'then', { get: refuse }),
  'a promise that is rejected': () => Promise.reject(new Error('nobody waits for it')),
  'a promise that is rejected with a revoked proxy': () => Promise.reject(revokedProxy()),
};
