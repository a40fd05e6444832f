import test, { type ExecutionContext } from 'ava';
import { Alarms } from '../../../../src/base/alarms.js';
import type { NativeConnection } from '../../../../src/transport/quic/binding/native.js';
import { newEndpointCounters } from '../../../../src/transport/quic/io/counters.js';
import {
  DatagramSize,
  type DatagramSizeHost,
} from '../../../../src/transport/quic/paths/datagram-size.js';
import { until } from '../../../helpers/until.js';

const MAX_BYTES = 1452;

/** A connection that has room for a probe, or has none. */
class Sender {
  hasRoom = true;
  /** Probes that the binding has. */
  queued: Uint8Array[] = [];
  readonly sent: Uint8Array[] = [];
  flushes = 0;
  readonly size: DatagramSize;

  constructor(t: ExecutionContext) {
    const native: Partial<NativeConnection> = {
      dgramMaxWritableLen: () => 16_000,
      destinationId: () => Buffer.alloc(20),
      dgramSendVec: (payload) => void this.queued.push(Buffer.from(payload)),
      dgramSendQueueLen: () => this.queued.length,
      dgramPurgeOutgoing: () => {
        this.queued = [];
      },
      dgramRecvQueueLen: () => 0,
    };
    const host: DatagramSizeHost = {
      counters: newEndpointCounters(),
      alarms: new Alarms(),
      sendNext: (maxBytes) => this.#send(maxBytes),
      datagramsSent: () => 1,
      lostPackets: () => 0,
      patienceMs: () => 10,
      flush: () => {
        this.flushes += 1;
      },
      holdBack: () => {},
      askForProof: () => {},
      answerProof: () => {},
      credit: () => {},
      emit: () => {},
      fail: (error) => t.fail(error.message),
    };
    const limits = { maxBytes: MAX_BYTES, isFixed: false };
    this.size = new DatagramSize(native as NativeConnection, limits, host);
    t.teardown(() => this.size.stop());
  }

  #send(maxBytes: number): number {
    const probe = this.hasRoom ? this.queued.shift() : undefined;
    if (probe === undefined) return 0;
    this.sent.push(probe);
    return maxBytes;
  }
}

/** Whose first probe has left, and whose second one waits for room. */
async function makeHolding(t: ExecutionContext): Promise<Sender> {
  const sender = new Sender(t);
  const { size } = sender;
  size.established();
  size.flushed();
  size.sent(1200);
  size.flushed();
  t.is(sender.sent.length, 1);
  t.false(size.isHolding);
  sender.hasRoom = false;
  // It is not answered in time.
  await until(() => sender.flushes > 0);
  size.flushed();
  t.true(size.isHolding);
  return sender;
}

test('a probe that waits for room is taken back when an earlier one is answered: streams wait for it no longer', async (t) => {
  const sender = await makeHolding(t);
  const { size } = sender;
  size.proofArrived((sender.sent[0] as Uint8Array).subarray(0, 16));
  t.is(size.bytes, MAX_BYTES);
  size.flushed();
  t.false(size.isHolding);
  t.is(sender.queued.length, 0);
});

test('a probe for which there is no room is taken back after a while', async (t) => {
  const sender = await makeHolding(t);
  const { flushes } = sender;
  await until(() => sender.flushes > flushes);
  sender.size.flushed();
  t.false(sender.size.isHolding);
  t.is(sender.queued.length, 0);
});

test('a probe that has left as one datagram among others is waited for no longer', async (t) => {
  const sender = await makeHolding(t);
  const { size } = sender;
  const [probe] = sender.queued.splice(0);
  size.flushed();
  t.false(size.isHolding);
  size.proofArrived((probe as Uint8Array).subarray(0, 16));
  t.is(size.bytes, MAX_BYTES);
});

test('a doubt takes the place of a larger probe that waits for room', async (t) => {
  const sender = new Sender(t);
  const { size } = sender;
  size.established();
  size.flushed();
  size.sent(1200);
  // Two of the largest size, then one of the next, which is answered.
  for (let probes = 0; probes < 3; probes += 1) {
    const { flushes } = sender;
    size.flushed();
    t.is(sender.sent.length, probes + 1);
    if (probes < 2) await until(() => sender.flushes > flushes);
  }
  size.proofArrived((sender.sent[2] as Uint8Array).subarray(0, 16));
  const found = size.bytes;
  t.true(found > 1200 && found < MAX_BYTES);
  sender.hasRoom = false;
  size.flushed();
  const asked = sender.queued[0]?.length as number;
  t.true(asked > (sender.sent[2]?.length as number));
  size.sent(found);
  size.timedOut(performance.now());
  size.timedOut(performance.now());
  t.is(size.bytes, 1200);
  size.flushed();
  t.deepEqual(
    sender.queued.map(({ length }) => length),
    [sender.sent[2]?.length as number],
  );
});
