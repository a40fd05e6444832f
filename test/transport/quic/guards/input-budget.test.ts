/** What honest peers send never uses up their budget; what brings nothing soon does. */
import test from 'ava';
import {
  InputBudget,
  type InputTotals,
  type InputWitness,
} from '../../../../src/transport/quic/guards/input-budget.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const WINDOW_BYTES = 32 * MIB;

/** A connection as its budget sees it. */
class Account {
  readonly totals: { -readonly [K in keyof InputTotals]: InputTotals[K] } = { read: 0, sent: 0 };
  nowMs = 0;
  receivedBytes = 0;
  authenticBytes = 0;
  unreadBytes = 0;
  asked = 0;
  readonly #budget = new InputBudget(WINDOW_BYTES);
  readonly #witness: InputWitness = {
    authenticBytes: () => {
      this.asked += 1;
      return this.authenticBytes;
    },
    unreadBytes: () => this.unreadBytes,
  };

  /** A datagram comes in. @returns why the connection is to end */
  receive(bytes: number, { isForeign = false } = {}): string | undefined {
    this.receivedBytes += bytes;
    if (!isForeign) this.authenticBytes += bytes;
    if (!this.#budget.count(bytes)) return undefined;
    return this.#budget.judge(this.totals, this.nowMs, this.#witness);
  }

  get isStrained(): boolean {
    return this.#budget.isStrained;
  }

  took(ms: number): void {
    this.#budget.took(ms);
  }
}

test('bytes that bring nothing end a connection before it has had a megabyte of them', (t) => {
  for (const bytes of [100, 1350, 16_000, 65_000]) {
    const account = new Account();
    let reason: string | undefined;
    while (reason === undefined && account.receivedBytes < 100 * MIB)
      reason = account.receive(bytes);
    t.regex(reason ?? '', /brought nothing/);
    // Of small datagrams a good part goes without saying.
    t.true(account.receivedBytes < (bytes === 100 ? 2 : 1) * MIB);
  }
});

test('an upload may go on for ever, and so may requests and acknowledgements', (t) => {
  const upload = new Account();
  const requests = new Account();
  const acknowledgements = new Account();
  for (let i = 0; i < 200_000; i += 1) {
    upload.totals.read += 1310;
    requests.totals.read += 40;
    requests.totals.sent += 100;
    acknowledgements.totals.sent += 2 * 1350;
    t.is(upload.receive(1350), undefined);
    t.is(requests.receive(90), undefined);
    t.is(acknowledgements.receive(70), undefined);
  }
  for (const { asked } of [upload, requests, acknowledgements]) t.is(asked, 0);
});

test('acknowledgements with many ranges are no debt as long as they come for much', (t) => {
  const account = new Account();
  for (let i = 0; i < 50_000; i += 1) {
    account.totals.sent += 2 * 1350;
    t.is(account.receive(64 + 400), undefined);
  }
});

test('an upload that waits for a lost packet may have as much under way as it brought lately', (t) => {
  const account = new Account();
  for (let i = 0; i < 1000; i += 1) {
    account.totals.read += 15_950;
    t.is(account.receive(16_000), undefined);
    account.nowMs += 1;
  }
  for (let i = 0; i < 800; i += 1) t.is(account.receive(16_000), undefined);
  account.totals.read += 800 * 15_950;
  t.is(account.receive(64 * KIB), undefined);
  t.is(account.asked, 0);
});

test('what was brought long ago is no excuse', (t) => {
  const account = new Account();
  for (let i = 0; i < 1000; i += 1) {
    account.totals.read += 16_000;
    account.receive(16_000);
  }
  account.nowMs += 200_000;
  const before = account.receivedBytes;
  let reason: string | undefined;
  while (reason === undefined && account.receivedBytes < 100 * MIB)
    reason = account.receive(16_000);
  t.true(account.receivedBytes - before < MIB);
});

test('a reader that pauses may let a window fill up, and not more', (t) => {
  const account = new Account();
  account.unreadBytes = WINDOW_BYTES;
  for (let i = 0; i < 2000; i += 1) t.is(account.receive(16_000), undefined);
  for (let i = 0; i < 200; i += 1) account.receive(16_000);
  t.regex(account.receive(64 * KIB) ?? '', /brought nothing/);
});

test('datagrams that are not the peer’s are not held against it', (t) => {
  const account = new Account();
  for (let i = 0; i < 10_000; i += 1) t.is(account.receive(16_000, { isForeign: true }), undefined);
  t.true(account.asked > 0);
  let reason: string | undefined;
  const before = account.receivedBytes;
  while (reason === undefined && account.receivedBytes < 400 * MIB)
    reason = account.receive(16_000);
  t.true(account.receivedBytes - before < MIB);
});

test('datagrams that keep the binding busy end a connection that is in debt', (t) => {
  const account = new Account();
  const receiveUsual = () => {
    account.totals.read += 64 * KIB;
    return account.receive(64 * KIB);
  };
  t.is(receiveUsual(), undefined);
  t.false(account.isStrained);
  for (let i = 0; i < 4; i += 1) t.is(account.receive(64 * KIB), undefined);
  t.true(account.isStrained);
  for (let i = 0; i < 3; i += 1) {
    account.took(201);
    t.is(receiveUsual(), undefined);
  }
  account.took(150);
  t.is(receiveUsual(), undefined);
  account.took(201);
  t.regex(receiveUsual() ?? '', /4 datagrams took longer than 200 ms/);
});
