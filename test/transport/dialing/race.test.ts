import test from 'ava';
import { MeshError } from '../../../src/errors.js';
import type { Connection } from '../../../src/transport/connection.js';
import {
  type RaceOptions,
  type RacingDial,
  raceDials,
} from '../../../src/transport/dialing/race.js';
import { tellingOf } from '../../../src/transport/unproved.js';

const NEVER_MS = 0x7fff_ffff;
const unreached = (name: string) => new MeshError('ConnectTimeout', `${name} did not answer`);

/** A dial that a test decides. */
class Dial {
  readonly connection: Connection;
  readonly begun: Promise<void>;
  closed = false;
  signal: AbortSignal | undefined;
  connect!: () => void;
  fail!: (error: Error) => void;
  #began!: () => void;

  constructor() {
    this.begun = new Promise((resolve) => {
      this.#began = resolve;
    });
    this.connection = {
      close: async () => {
        this.closed = true;
      },
    } as unknown as Connection;
  }

  readonly run: RacingDial = (signal) => {
    this.signal = signal;
    this.#began();
    return new Promise((resolve, reject) => {
      this.connect = () => resolve(this.connection);
      this.fail = reject;
    });
  };
}

function race(dials: readonly Dial[], options: Partial<RaceOptions> = {}) {
  return raceDials(
    dials.map(({ run }) => run),
    {
      staggerMs: NEVER_MS,
      isFinal: ({ code }) => code !== 'ConnectTimeout',
      endsOnFinal: true,
      tellingOf,
      ...options,
    },
  );
}

test('the second dial begins while the first takes long, and the first still wins if it is done first', async (t) => {
  const [first, second] = [new Dial(), new Dial()];
  const result = race([first, second], { staggerMs: 10 });
  await second.begun;
  t.false(first.signal?.aborted);
  first.connect();
  t.deepEqual(await result, { connection: first.connection, winner: 0, begun: 2 });
  t.true(second.signal?.aborted, 'the loser is given up');
});

test('what a loser still brings is closed', async (t) => {
  const [first, second] = [new Dial(), new Dial()];
  const result = race([first, second], { staggerMs: 1 });
  await second.begun;
  second.connect();
  t.is((await result).winner, 1);
  first.connect();
  await new Promise((resolve) => setImmediate(resolve));
  t.true(first.closed);
  t.false(second.closed);
});

test('a failure begins the next dial at once, and the last one in line tells why all have failed', async (t) => {
  const [first, second] = [new Dial(), new Dial()];
  const result = race([first, second]);
  await first.begun;
  first.fail(unreached('first'));
  await second.begun;
  second.fail(unreached('second'));
  t.like(await t.throwsAsync(result), { message: 'second did not answer' });
});

test('a dial that is slow is waited for when all others have failed', async (t) => {
  const [first, second] = [new Dial(), new Dial()];
  const result = race([first, second], { staggerMs: 1 });
  await second.begun;
  second.fail(unreached('second'));
  await new Promise((resolve) => setImmediate(resolve));
  first.connect();
  t.is((await result).winner, 0);
});

test('a refusal ends the race', async (t) => {
  const [first, second, third] = [new Dial(), new Dial(), new Dial()];
  const result = race([first, second, third], { staggerMs: 1 });
  await second.begun;
  second.fail(new MeshError('CertificateUntrusted', 'no'));
  t.like(await t.throwsAsync(result), { code: 'CertificateUntrusted' });
  t.true(first.signal?.aborted);
});

test('the caller may cancel, before and while it runs', async (t) => {
  const dial = new Dial();
  const cancel = new AbortController();
  const result = race([dial], { signal: cancel.signal });
  await dial.begun;
  cancel.abort();
  t.like(await t.throwsAsync(result), { code: 'Cancelled' });
  t.true(dial.signal?.aborted);
  const late = new Dial();
  const error = await t.throwsAsync(race([late], { signal: AbortSignal.abort() }));
  t.like(error, { code: 'Cancelled' });
  t.is(late.signal, undefined, 'nothing was dialed');
});

test('where dials lead to several peers a refusal does not end the race, and tells more than silence', async (t) => {
  const [first, second, third] = [new Dial(), new Dial(), new Dial()];
  const result = race([first, second, third], { endsOnFinal: false });
  await first.begun;
  first.fail(new MeshError('CertificateNameMismatch', 'not me'));
  await second.begun;
  second.fail(unreached('second'));
  await third.begun;
  third.fail(unreached('third'));
  t.like(await t.throwsAsync(result), { code: 'CertificateNameMismatch' });
});

test("among refusals the other side's tells more than this side's, which may have met somebody else", async (t) => {
  const [first, second] = [new Dial(), new Dial()];
  const result = race([first, second], { endsOnFinal: false });
  await first.begun;
  first.fail(new MeshError('CertificateNameMismatch', 'not me'));
  await second.begun;
  second.fail(new MeshError('CertificateRevoked', 'not you', { side: 'remote' }));
  t.like(await t.throwsAsync(result), { code: 'CertificateRevoked', side: 'remote' });
});
