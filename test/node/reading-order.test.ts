/** In which order a node reads what one peer has sent, where that is more than one turn of the event loop reads. */
import test from 'ava';
import { MessageCodec } from '../../src/protocol/codec.js';
import { encodeFrame, FrameFlag } from '../../src/protocol/frame.js';
import { messageIdOf } from '../../src/transport/quic/streams/stream.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { PlainClient } from '../helpers/quic/plain-client.js';
import { until } from '../helpers/until.js';

const LATER_CALLS = 120;
/** More than a turn reads. */
const BUSY_MS = 1;

test('quic: the rest of a message does not wait for all calls that came after its beginning', async (t) => {
  const node = await startNode(t, 'n2', { transports: ['quic'] });
  const handled: string[] = [];
  node.handle('request', ({ method }) => {
    const untilMs = performance.now() + BUSY_MS;
    while (performance.now() < untilMs);
    handled.push(method);
    return {};
  });
  const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'));
  const begun = client.call({ type: 'request', method: 'first' });
  await until(() => begun.ended);

  const slow = begun.id + 4;
  const message = { type: 'request', method: 'slow', body: Buffer.alloc(2000, 7) } as const;
  const bytes = encodeFrame({
    control: FrameFlag.end,
    messageId: messageIdOf(slow),
    payload: new MessageCodec().encode(message),
    checksum: true,
  });
  const reserved = client.reserve();
  t.is(reserved.id, slow);
  client.write(slow, bytes.subarray(0, 1000));
  const behind = client.call({ type: 'request', method: 'behind' });
  await until(() => behind.ended);

  const calls = Array.from({ length: LATER_CALLS }, (_, i) => {
    if (i === 10) client.write(slow, bytes.subarray(1000), true);
    return client.call({ type: 'request', method: 'later' });
  });
  await until(() => calls.every(({ ended }) => ended) && reserved.ended);

  const place = handled.indexOf('slow') - handled.indexOf('behind');
  t.log(`${place} calls after its beginning, of ${LATER_CALLS}`);
  t.true(place < LATER_CALLS / 2, `it had to wait for ${place} calls`);
});
