/** The control stream's frames: notices, and proofs that a side receives. */
import test from 'ava';
import { encodeReset } from '../../../src/protocol/control.js';
import { encodeFrame, type FrameFields, FrameFlag } from '../../../src/protocol/frame.js';
import {
  type ControlHandler,
  ControlReceiver,
  ControlSender,
} from '../../../src/transport/quic/control-stream.js';
import { thrownBy } from '../../helpers/frame-client.js';

const NONCE = Buffer.from('0123456789abcdef');

test('notices and proofs arrive as they were sent, however the bytes are cut', (t) => {
  const wire: Buffer[] = [];
  const write = (bytes: Uint8Array) => wire.push(Buffer.from(bytes)) && bytes.length;
  const sender = new ControlSender();
  sender.notify(7, 'Cancelled', 'enough', write);
  sender.prove('request', NONCE, write);
  sender.prove('answer', NONCE, write);
  for (const size of [1, 5, 1000]) {
    const heard: string[] = [];
    const receiver = new ControlReceiver();
    const bytes = Buffer.concat(wire);
    for (let at = 0; at < bytes.length; at += size) {
      receiver.receive(Buffer.from(bytes.subarray(at, at + size)), listener(heard));
    }
    t.deepEqual(heard, ['notice 7 Cancelled enough', `request ${NONCE}`, `proof ${NONCE}`]);
  }
});

test('any other frame is a ProtocolViolation', (t) => {
  const reset = encodeReset({ code: 'Cancelled', reason: '' });
  const others: Omit<FrameFields, 'checksum'>[] = [
    { messageId: 3, payload: NONCE },
    { messageId: 1, payload: NONCE.subarray(1) },
    { messageId: 2, payload: Buffer.alloc(17) },
    { messageId: 1, payload: NONCE, control: FrameFlag.end },
    { messageId: 0, payload: reset, control: FrameFlag.reset },
    { messageId: 0, payload: Buffer.alloc(4, 1), control: FrameFlag.credit },
  ];
  for (const fields of others) {
    const frame = encodeFrame({ ...fields, checksum: true });
    const error = thrownBy(() => new ControlReceiver().receive(frame, listener([])));
    t.is(error.code, 'ProtocolViolation');
  }
});

function listener(heard: string[]): ControlHandler {
  return {
    onNotice: (id, { code, message }) => heard.push(`notice ${id} ${code} ${message}`),
    onProofRequest: (nonce) => heard.push(`request ${Buffer.from(nonce)}`),
    onProof: (nonce) => heard.push(`proof ${Buffer.from(nonce)}`),
  };
}
