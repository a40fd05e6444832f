/** The control stream's frames: notices, and proofs that a side receives. */
import test from 'ava';
import { encodeAllOver, encodeGoAway, encodeReset } from '../../../../src/protocol/control.js';
import { encodeFrame, type FrameFields, FrameFlag } from '../../../../src/protocol/frame.js';
import {
  type ControlHandler,
  ControlReceiver,
  ControlSender,
} from '../../../../src/transport/quic/streams/control-stream.js';
import { thrownBy } from '../../../helpers/frame-client.js';

const NONCE = Buffer.from('0123456789abcdef');

test('what is told arrives as they were sent, however the bytes are cut', (t) => {
  const wire: Buffer[] = [];
  const write = (bytes: Uint8Array) => wire.push(Buffer.from(bytes)) && bytes.length;
  const sender = new ControlSender();
  sender.notify(7, 'Cancelled', 'enough', write);
  sender.prove('request', NONCE, write);
  sender.prove('answer', NONCE, write);
  sender.goAway(encodeGoAway(3), write);
  sender.goAway(encodeAllOver(), write);
  for (const size of [1, 5, 1000]) {
    const heard: string[] = [];
    const receiver = new ControlReceiver();
    const bytes = Buffer.concat(wire);
    for (let at = 0; at < bytes.length; at += size) {
      receiver.receive(Buffer.from(bytes.subarray(at, at + size)), listener(heard));
    }
    t.deepEqual(heard, [
      'notice 7 Cancelled enough',
      `request ${NONCE}`,
      `proof ${NONCE}`,
      'go away 3',
      'go away undefined',
    ]);
  }
});

test('going away is told although frames that may be lost fill the queue', (t) => {
  const wire: Buffer[] = [];
  const sender = new ControlSender();
  for (let i = 0; i < 3000; i += 1) sender.notify(7, 'Cancelled', 'enough', () => 0);
  sender.goAway(encodeGoAway(3), () => 0);
  sender.pump((bytes) => wire.push(Buffer.from(bytes)) && bytes.length);
  const heard: string[] = [];
  new ControlReceiver().receive(Buffer.concat(wire), listener(heard));
  t.true(heard.length < 3000);
  t.is(heard.at(-1), 'go away 3');
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
    { messageId: 0, payload: NONCE },
    { messageId: 0, payload: Buffer.alloc(7), control: FrameFlag.end },
    { messageId: 0, payload: Buffer.alloc(8, 0xff), control: FrameFlag.end },
    { messageId: 3, payload: encodeGoAway(1), control: FrameFlag.end },
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
    onGoAway: (streams) => heard.push(`go away ${streams}`),
  };
}
