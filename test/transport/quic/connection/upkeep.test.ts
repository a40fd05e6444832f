import test from 'ava';
import fc from 'fast-check';
import { Upkeep } from '../../../../src/transport/quic/connection/upkeep.js';
import { holds } from '../../../protocol/properties.js';

const KEEP_ALIVE_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
/** Between two looks at a busy connection. */
const LOOK_EVERY_MS = 1000;
const ACCEPTORS_PATIENCE_MS = 15_000;
/** A question may be so much later, as those of other connections are due as well. */
const SLACK_MS = 200;

const LIMITS = { keepAliveMs: KEEP_ALIVE_MS, idleTimeoutMs: IDLE_TIMEOUT_MS } as const;

type Role = 'dialer' | 'acceptor';

interface Happening {
  readonly afterMs: number;
  readonly kind: string;
}

/** What befalls a connection, a while after what came before. */
const happening = fc.record({
  afterMs: fc.oneof(fc.nat(1500), fc.nat(15_000), fc.nat(60_000)),
  kind: fc.constantFrom('hears', 'sends', 'begins', 'ends', 'hears', 'acknowledges'),
});
const role = fc.constantFrom<Role>('dialer', 'acceptor');

interface Course {
  readonly asked: readonly number[];
  readonly maintained: readonly number[];
  readonly looks: number;
  /** The longest silence that was met by no question, while nobody waited and while a dialer did. */
  readonly silentMs: { readonly idle: number; readonly awaiting: number };
}

function follow(
  happenings: readonly Happening[],
  role: Role,
  answers: 'always' | 'mostly',
): Course {
  const upkeep = new Upkeep({ role, ...LIMITS }, 0);
  const asked: number[] = [];
  const maintained: number[] = [];
  const silentMs = { idle: 0, awaiting: 0 };
  let [looks, heardMs, knownMs, activity, streams] = [0, 0, 0, 0, 0];
  let nextMs = Number.POSITIVE_INFINITY;
  const flush = (nowMs: number): void => {
    if (upkeep.mustWake(activity, false)) nextMs = upkeep.wake(nowMs);
  };
  const isAwaiting = () => role === 'dialer' && streams > 0;
  /** The silence since anything was heard, asked or begun. */
  const noteSilence = (nowMs: number): void => {
    const kind = isAwaiting() ? 'awaiting' : 'idle';
    silentMs[kind] = Math.max(silentMs[kind], nowMs - knownMs);
    knownMs = nowMs;
  };
  const look = (nowMs: number): void => {
    looks += 1;
    const view = { heardMs, activity, isAwaiting: isAwaiting(), isUnsettled: false };
    const step = upkeep.look(nowMs, view);
    nextMs = step.nextMs;
    if (step.maintains) maintained.push(nowMs);
    if (!step.asks) return;
    noteSilence(nowMs);
    asked.push(nowMs);
    flush(nowMs);
    if (answers === 'mostly' && asked.length % 3 === 0) return;
    heardMs = nowMs + 1;
    flush(nowMs + 1);
  };
  flush(0);
  let nowMs = 0;
  for (const { afterMs, kind } of happenings) {
    const untilMs = nowMs + afterMs + 0.5;
    while (nextMs <= untilMs) look(nextMs);
    nowMs = untilMs;
    noteSilence(nowMs);
    if (kind !== 'sends') heardMs = nowMs;
    if (kind !== 'acknowledges') activity += 1;
    if (kind === 'begins') streams += 1;
    if (kind === 'ends') streams = Math.max(0, streams - 1);
    flush(nowMs);
  }
  return { asked, maintained, looks, silentMs };
}

test('no silence lasts for longer than the keep-alive time without a question', (t) => {
  holds(
    t,
    fc.property(fc.array(happening, { maxLength: 40 }), role, (happenings, its) => {
      const { silentMs } = follow(happenings, its, 'mostly');
      const patienceMs = its === 'dialer' ? KEEP_ALIVE_MS : ACCEPTORS_PATIENCE_MS;
      return silentMs.idle <= patienceMs + LOOK_EVERY_MS && silentMs.awaiting <= 2 * LOOK_EVERY_MS;
    }),
  );
});

test('a connection with traffic is maintained in every keep-alive interval', (t) => {
  const happenings = Array.from({ length: 300 }, () => ({ afterMs: 400, kind: 'hears' }));
  const { maintained } = follow(happenings, 'dialer', 'always');
  t.true(maintained.length >= 20);
  for (const [i, atMs] of maintained.entries()) t.true(atMs - (maintained[i - 1] ?? 0) <= 6000);
});

test('an idle connection gets two looks for each question, and a question for each keep-alive interval', (t) => {
  const idle = [
    { afterMs: 10, kind: 'hears' },
    { afterMs: 1_100_000, kind: 'acknowledges' },
  ];
  const { asked, looks, maintained } = follow(idle, 'dialer', 'always');
  t.true(asked.length >= 100 && asked.length <= 110, `${asked.length}`);
  t.true(looks <= 2 * asked.length + 3, `${looks} looks for ${asked.length}`);
  t.true(maintained.length >= asked.length / 2);
});

test('a question that is not answered is asked again after a second', (t) => {
  const idle = [{ afterMs: 300_000, kind: 'acknowledges' }];
  const { asked } = follow(idle, 'dialer', 'mostly');
  for (const [i, atMs] of asked.entries()) {
    if (i % 3 === 2 && i + 1 < asked.length) {
      t.true((asked[i + 1] as number) - atMs <= LOOK_EVERY_MS, `${atMs}`);
    }
  }
  t.true(asked.length > 30);
});

test('an acceptor asks nothing while the dialer does, and is never looked at more often', (t) => {
  const answered = Array.from({ length: 100 }, () => ({
    afterMs: KEEP_ALIVE_MS,
    kind: 'acknowledges',
  }));
  const { asked, looks, maintained } = follow(answered, 'acceptor', 'always');
  t.deepEqual([asked, maintained], [[], []]);
  t.true(looks <= answered.length + 3, `${looks}`);
});

test('an acceptor asks before its own idle timeout, however late the dialer asks', (t) => {
  holds(
    t,
    fc.property(fc.integer({ min: 2, max: 60_000 }), fc.integer({ min: 1 }), (idleMs, share) => {
      const keepAliveMs = 1 + (share % (idleMs - 1));
      const upkeep = new Upkeep({ role: 'acceptor', keepAliveMs, idleTimeoutMs: idleMs }, 0);
      const view = { heardMs: 0, activity: -1, isAwaiting: false, isUnsettled: false };
      const slackMs = Math.min(SLACK_MS, keepAliveMs / 10);
      const { nextMs } = upkeep.look(0, view);
      return nextMs >= keepAliveMs && nextMs <= (keepAliveMs + idleMs) / 2 + slackMs;
    }),
  );
});

test('questions of connections that were last heard at different times are not asked together', (t) => {
  const asksAt = Array.from({ length: 100 }, (_, i) => {
    const upkeep = new Upkeep({ role: 'dialer', ...LIMITS }, 0);
    const view = { heardMs: 10 * i, activity: -1, isAwaiting: false, isUnsettled: false };
    return upkeep.look(1000, view).nextMs;
  });
  t.true(new Set(asksAt).size >= 5);
  for (const [i, atMs] of asksAt.entries()) t.true(atMs >= KEEP_ALIVE_MS + 10 * i, `${atMs}`);
});
