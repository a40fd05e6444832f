import test from 'ava';
import fc from 'fast-check';
import { ERROR_CODES, isWireErrorCode, type MeshErrorCode } from '../../src/errors.js';
import {
  decodeCredit,
  decodeGoAway,
  decodeReset,
  encodeAllOver,
  encodeCredit,
  encodeGoAway,
  encodeReason,
  encodeReset,
  MAX_REASON_BYTES,
} from '../../src/protocol/control.js';
import { byteStrings, codeOf, holds, refusalOf } from './properties.js';

const CODES = Object.keys(ERROR_CODES) as MeshErrorCode[];

test('a reset is its code in four bytes and the reason', (t) => {
  const payload = encodeReset({ code: 'Cancelled', reason: 'enough' });
  t.is(payload.toString('hex'), `00000080${Buffer.from('enough').toString('hex')}`);
  t.deepEqual(decodeReset(payload, 'StreamReset'), { code: 'Cancelled', reason: 'enough' });
});

test('every code that travels survives a reset; one that never does leaves as InternalError', (t) => {
  for (const code of CODES) {
    const expected = isWireErrorCode(code) ? code : 'InternalError';
    t.deepEqual(decodeReset(encodeReset({ code, reason: '' }), 'StreamReset'), {
      code: expected,
      reason: '',
    });
  }
  const local = Buffer.from('000000f1', 'hex');
  t.is(decodeReset(local, 'StreamReset').code, 'StreamReset');
});

test('an unknown code reads as the fallback and keeps its reason', (t) => {
  const payload = Buffer.concat([Buffer.from('7fffffff', 'hex'), Buffer.from('new')]);
  t.deepEqual(decodeReset(payload, 'StreamReset'), { code: 'StreamReset', reason: 'new' });
});

test('a reset that is too short or too long is refused', (t) => {
  for (const length of [0, 1, 3, 4 + MAX_REASON_BYTES + 1]) {
    t.is(
      codeOf(() => decodeReset(Buffer.alloc(length), 'StreamReset')),
      'ProtocolViolation',
    );
  }
  t.is(decodeReset(Buffer.alloc(4 + MAX_REASON_BYTES), 'StreamReset').code, 'NoError');
});

test('a reason is cut between characters, never within one', (t) => {
  for (const character of ['a', 'é', '€', '😀']) {
    for (let lead = 0; lead < 4; lead += 1) {
      const reason = 'x'.repeat(lead) + character.repeat(300);
      const cut = encodeReason(reason);
      const width = Buffer.byteLength(character);
      t.true(cut.length <= MAX_REASON_BYTES && cut.length > MAX_REASON_BYTES - width);
      t.true(reason.startsWith(cut.toString('utf8')));
    }
  }
});

test('any reason yields a reset that can be read', (t) => {
  holds(
    t,
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (reason) => {
      const read = decodeReset(encodeReset({ code: 'Overloaded', reason }), 'StreamReset');
      return Buffer.from(reason).toString().startsWith(read.reason) && read.code === 'Overloaded';
    }),
  );
});

test('a credit is its increment in four bytes', (t) => {
  t.is(encodeCredit(524_288).toString('hex'), '00080000');
  for (const bytes of [1, 524_288, 0xffff_ffff]) t.is(decodeCredit(encodeCredit(bytes)), bytes);
});

test('a credit of zero bytes or of another length is refused', (t) => {
  for (const length of [0, 3, 4, 5]) {
    t.is(
      codeOf(() => decodeCredit(Buffer.alloc(length))),
      'ProtocolViolation',
    );
  }
});

test('going away is the number of streams in eight bytes, its end is empty', (t) => {
  t.is(encodeGoAway(6).toString('hex'), '0000000000000006');
  for (const streams of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    t.is(decodeGoAway(encodeGoAway(streams)), streams);
  }
  t.is(decodeGoAway(encodeAllOver()), undefined);
});

test('going away after 2^53 streams, or in another length, is refused', (t) => {
  const above = Buffer.from('0020000000000000', 'hex');
  const highest = Buffer.alloc(8, 0xff);
  for (const payload of [above, highest, ...[1, 4, 7, 9].map((size) => Buffer.alloc(size))]) {
    t.is(
      codeOf(() => decodeGoAway(payload)),
      'ProtocolViolation',
    );
  }
});

test('random payloads are read or refused as ProtocolViolation', (t) => {
  holds(
    t,
    fc.property(byteStrings(300), (payload) => {
      for (const read of [
        () => decodeCredit(payload),
        () => decodeReset(payload, 'StreamReset'),
        () => decodeGoAway(payload),
      ]) {
        const code = refusalOf(read)?.code;
        if (code !== undefined && code !== 'ProtocolViolation') return false;
      }
      return true;
    }),
    1000,
  );
});
