/** A token is good for the client that it was sent to, for a while, and for nobody else. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { RetryTokens } from '../../../../src/transport/quic/admission/retry-token.js';

const CLIENT = { host: '192.0.2.1', port: 4433 };
const ORIGINAL_ID = randomBytes(18);
const RETRY_ID = randomBytes(16);
const MINUTE_MS = 60_000;

test('a token brings back the connection ID that the client chose first', (t) => {
  const tokens = new RetryTokens(5);
  for (const originalId of [ORIGINAL_ID, randomBytes(8), randomBytes(20)]) {
    const token = tokens.issue(CLIENT, originalId, RETRY_ID, 1000.7);
    const verdict = tokens.check(token, CLIENT, RETRY_ID, 1000.8);
    t.deepEqual(verdict, { kind: 'valid', originalId });
  }
});

test('another address, another port or another connection ID has no use for it', (t) => {
  const tokens = new RetryTokens(0);
  const token = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, 0);
  for (const [client, retryId] of [
    [{ ...CLIENT, host: '192.0.2.2' }, RETRY_ID],
    [{ ...CLIENT, port: 4434 }, RETRY_ID],
    [CLIENT, randomBytes(16)],
    [CLIENT, RETRY_ID.subarray(0, 15)],
  ] as const) {
    t.deepEqual(tokens.check(token, client, retryId, 1), { kind: 'invalid' });
  }
});

test('a token lives for ten seconds, and a new key does not shorten that', (t) => {
  const tokens = new RetryTokens(0);
  for (let issuedMs = 0; issuedMs < 30 * MINUTE_MS; issuedMs += MINUTE_MS - 1) {
    const token = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, issuedMs);
    const check = (nowMs: number) => tokens.check(token, CLIENT, RETRY_ID, nowMs).kind;
    t.is(check(issuedMs + 9_999), 'valid');
    t.is(check(issuedMs + 10_001), 'invalid');
  }
});

test('keys change: a token is not to be had by what made another one an hour ago', (t) => {
  const tokens = new RetryTokens(0);
  const early = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, 0);
  const late = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, 60 * MINUTE_MS);
  t.not(early[1], late[1]);
  t.is(tokens.check(early, CLIENT, RETRY_ID, 60 * MINUTE_MS).kind, 'invalid');
});

test('another endpoint did not make it', (t) => {
  const token = new RetryTokens(0).issue(CLIENT, ORIGINAL_ID, RETRY_ID, 0);
  t.is(new RetryTokens(0).check(token, CLIENT, RETRY_ID, 1).kind, 'invalid');
});

test('no bit of it can be changed', (t) => {
  const tokens = new RetryTokens(0);
  const token = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, 0);
  for (let bit = 0; bit < token.length * 8; bit += 1) {
    const changed = Buffer.from(token);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    t.not(tokens.check(changed, CLIENT, RETRY_ID, 1).kind, 'valid');
  }
});

test('what does not look like a token of ours counts as none', (t) => {
  const tokens = new RetryTokens(0);
  const token = tokens.issue(CLIENT, ORIGINAL_ID, RETRY_ID, 0);
  const kindOf = (bytes: Uint8Array) => tokens.check(bytes, CLIENT, RETRY_ID, 1).kind;
  t.is(kindOf(Buffer.alloc(0)), 'foreign');
  t.is(kindOf(Buffer.concat([Buffer.of(0), randomBytes(60)])), 'foreign');
  for (let length = 0; length < token.length; length += 1) {
    t.is(kindOf(token.subarray(0, length)), 'foreign');
  }
  t.is(kindOf(Buffer.concat([token, Buffer.of(0)])), 'foreign');
  // An ID longer than any may be.
  const long = Buffer.concat([token, randomBytes(30)]);
  long[8] = ORIGINAL_ID.length + 30;
  t.is(kindOf(long), 'foreign');
});
