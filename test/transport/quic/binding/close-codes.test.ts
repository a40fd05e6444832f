import test from 'ava';
import type { MeshErrorCode } from '../../../../src/errors.js';
import { errorOfClose } from '../../../../src/transport/quic/binding/close-codes.js';

/** RFC 9000, section 20.1: what each means before the handshake is done, and after. */
const TRANSPORT_ERRORS: readonly [number, string, MeshErrorCode, MeshErrorCode][] = [
  [0x00, 'NO_ERROR', 'ConnectFailed', 'NoError'],
  [0x01, 'INTERNAL_ERROR', 'InternalError', 'InternalError'],
  [0x02, 'CONNECTION_REFUSED', 'ConnectFailed', 'ConnectionLost'],
  [0x03, 'FLOW_CONTROL_ERROR', 'FlowControlViolation', 'FlowControlViolation'],
  [0x04, 'STREAM_LIMIT_ERROR', 'StreamLimitExceeded', 'StreamLimitExceeded'],
  [0x05, 'STREAM_STATE_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x06, 'FINAL_SIZE_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x07, 'FRAME_ENCODING_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x08, 'TRANSPORT_PARAMETER_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x09, 'CONNECTION_ID_LIMIT_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x0a, 'PROTOCOL_VIOLATION', 'ProtocolViolation', 'ProtocolViolation'],
  [0x0b, 'INVALID_TOKEN', 'ConnectFailed', 'ConnectionLost'],
  [0x0c, 'APPLICATION_ERROR', 'ConnectFailed', 'ConnectionLost'],
  [0x0d, 'CRYPTO_BUFFER_EXCEEDED', 'ProtocolViolation', 'ProtocolViolation'],
  [0x0e, 'KEY_UPDATE_ERROR', 'ProtocolViolation', 'ProtocolViolation'],
  [0x0f, 'AEAD_LIMIT_REACHED', 'ConnectFailed', 'ConnectionLost'],
  [0x10, 'NO_VIABLE_PATH', 'ConnectFailed', 'ConnectionLost'],
  [0x11, 'one that is not in use', 'ProtocolViolation', 'ProtocolViolation'],
];

for (const [errorCode, name, before, after] of TRANSPORT_ERRORS) {
  test(`0x${errorCode.toString(16)}, ${name}, is ${before} in a handshake and ${after} later`, (t) => {
    for (const side of ['local', 'remote'] as const) {
      const close = { isApp: false, errorCode, reason: Buffer.alloc(0) };
      t.like(errorOfClose(close, side, false), { code: before, side });
      t.like(errorOfClose(close, side, true), { code: after, side });
      const told = errorOfClose({ ...close, reason: Buffer.from('why') }, side, false);
      t.is(told.message, 'why');
    }
  });
}

test('whoever ends a handshake without finding fault with this side is dialed again soon', (t) => {
  const gone = TRANSPORT_ERRORS.filter(([, , before]) => before === 'ConnectFailed');
  t.is(gone.length, 6);
  for (const [errorCode] of gone) {
    const close = { isApp: false, errorCode, reason: Buffer.alloc(0) };
    t.true(errorOfClose(close, 'remote', false).retryable);
    t.true(errorOfClose(close, 'remote', true).retryable);
  }
});

test('an alert that finds no fault with this side is worth another dial, others are not', (t) => {
  const ofAlert = (alert: number) =>
    errorOfClose(
      { isApp: false, errorCode: 0x100 + alert, reason: Buffer.alloc(0) },
      'remote',
      false,
    );
  t.like(ofAlert(80), { code: 'InternalError', retryable: true });
  t.like(ofAlert(90), { code: 'ConnectFailed', retryable: true });
  t.like(ofAlert(40), { code: 'TlsFailure', retryable: false });
  t.like(ofAlert(48), { code: 'CertificateUntrusted', retryable: false });
});
