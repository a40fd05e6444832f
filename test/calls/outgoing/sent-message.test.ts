/** What a call keeps of its message for a further attempt. */
import test from 'ava';
import { SentMessage } from '../../../src/calls/outgoing/sent-message.js';
import { MessageCodec } from '../../../src/protocol/codec.js';
import { Compression } from '../../../src/protocol/frame.js';
import { EncodedItem } from '../../../src/protocol/kept-message.js';
import type { Request } from '../../../src/protocol/message.js';

for (const isLong of [true, false]) {
  test(`the message of a call that ${isLong ? 'may last' : 'is over soon'} is ${isLong ? '' : 'not '}copied out of its block`, (t) => {
    const message = { type: 'request', method: 'wait', body: { key: 'value' } } as const;
    const { payload, tail } = new MessageCodec().encodeSplit(message);
    const plain = { payload, tail, compression: Compression.none };
    const kept = new SentMessage('request', plain, isLong).keep();
    const { body } = kept.message as Request;
    if (!(body instanceof EncodedItem)) {
      t.fail('the body is kept as it was encoded');
      return;
    }
    t.is(body.bytes.buffer === payload.buffer, !isLong);
    t.deepEqual(new MessageCodec().encode(kept.message), new MessageCodec().encode(message));
  });
}
