/** What calls may have in flight, and what a peer may ask of a node: nothing waits, or is held, without a limit. */
import { setMaxListeners } from 'node:events';
import test from 'ava';
import { MeshError } from '../../src/index.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { openCollected } from '../helpers/frame-client.js';
import {
  bareClient,
  HEARTBEAT,
  HEARTBEAT_REPLY,
  hold,
  holdingPair,
} from '../helpers/holding-pair.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
/** So long a busy machine may take for all that goes on at once. */
const PATIENT = { timeoutMs: 50_000 };

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: beyond the bytes of a connection calls wait, and go as others are answered`, async (t) => {
    const { peer, gate } = await holdingPair(t, transport, {
      n1: { limits: { connectionBytes: 16 * MIB } },
    });
    const body = new Uint8Array(4 * MIB);
    const calls = [0, 1, 2, 3, 4, 5].map((index) => hold(peer, `call ${index}`, body));
    await until(() => gate.held.length === 4);
    // The urgent go on, and a call that would have to wait says so.
    t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
    t.false(peer.trySend({ type: 'request', method: 'note' }));
    const urgent = { type: 'request', method: 'note' } as const;
    t.like(await peer.request(urgent, { priority: 'control' }), { type: 'response' });
    t.true(peer.trySend(urgent, { priority: 'control' }));
    await until(() => gate.notes === 2);
    t.is(gate.held.length, 4);
    gate.open(1);
    await until(() => gate.held.length === 4);
    t.deepEqual(
      gate.seen.sort(),
      [0, 1, 2, 3, 4].map((n) => `call ${n}`),
    );
    gate.open();
    await until(() => gate.held.length === 1);
    gate.open();
    for (const call of calls) t.like(await call, { type: 'response' });
    t.is(gate.seen.length, 6);
    t.true(peer.trySend({ type: 'request', method: 'note' }));
    await until(() => gate.notes === 3);
  });

  test(`${transport}: a call that waits for room heeds its deadline and its signal, and has not run`, async (t) => {
    const { peer, gate } = await holdingPair(t, transport, {
      n1: { limits: { connectionBytes: 16 * MIB } },
    });
    const held = hold(peer, 'large', new Uint8Array(15 * MIB));
    const second = hold(peer, 'second', new Uint8Array(2 * MIB));
    await until(() => gate.held.length === 2);
    const abort = new AbortController();
    const late = peer.request({ type: 'request', method: 'late' }, { timeoutMs: 50 });
    const cancelled = peer.request(
      { type: 'request', method: 'cancelled' },
      { signal: abort.signal },
    );
    t.like(await t.throwsAsync(late), { code: 'DeadlineExceeded', maybeExecuted: false });
    abort.abort();
    t.like(await t.throwsAsync(cancelled), { code: 'Cancelled', maybeExecuted: false });
    gate.open();
    await Promise.all([held, second]);
    t.deepEqual(gate.seen.sort(), ['large', 'second']);
  });

  test(`${transport}: calls that wait for room fail with their connection, as not sent`, async (t) => {
    const { peer, gate, n1 } = await holdingPair(t, transport, {
      n1: { limits: { connectionBytes: 16 * MIB } },
    });
    const held = hold(peer, 'large', new Uint8Array(15 * MIB));
    const second = hold(peer, 'second', new Uint8Array(2 * MIB));
    await until(() => gate.held.length === 2);
    const waiting = peer.request({ type: 'request', method: 'waits' });
    await n1.peer('n2')?.close();
    t.like(await t.throwsAsync(waiting), { code: 'ConnectionClosed', maybeExecuted: false });
    t.like(await t.throwsAsync(held), { maybeExecuted: true });
    t.like(await t.throwsAsync(second), { maybeExecuted: true });
  });

  test(`${transport}: a node takes no more bytes of a peer than it allows, and says that it is overloaded`, async (t) => {
    const { peer, gate } = await holdingPair(t, transport, {
      n2: { limits: { connectionBytes: 16 * MIB } },
    });
    const abort = new AbortController();
    const given = { signal: abort.signal, timeoutMs: 60_000 };
    const body = new Uint8Array(8 * MIB);
    const held = [0, 1].map(() => peer.request({ type: 'request', method: 'held', body }, given));
    await until(() => gate.held.length === 2);
    const refused = await t.throwsAsync(hold(peer, 'refused', new Uint8Array(1)));
    t.like(refused, {
      code: 'Overloaded',
      side: 'remote',
      retryable: true,
      maybeExecuted: false,
    });
    t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
    // Who gives a call up leaves its bytes to the handler that works on them.
    abort.abort();
    for (const each of held) t.like(await t.throwsAsync(each), { code: 'Cancelled' });
    const stillRefused = await t.throwsAsync(hold(peer, 'refused', new Uint8Array(1)));
    t.like(stillRefused, { code: 'Overloaded', side: 'remote' });
    gate.open();
    const later = hold(peer, 'later', new Uint8Array(1));
    await until(() => gate.held.length === 1);
    gate.open();
    await later;
  });

  test(`${transport}: the limit of a node holds over all of its connections`, async (t) => {
    const limits = { connectionBytes: 16 * MIB, nodeBytes: 16 * MIB };
    const { peer, gate, n1, n2 } = await holdingPair(t, transport, { n2: { limits } });
    const other = await startNode(t, 'n3', { transports: [transport], listen: undefined });
    const fromOther = await other.connect(targetOf(n2));
    const held = hold(peer, 'held', new Uint8Array(15 * MIB));
    const more = hold(fromOther, 'more', new Uint8Array(MIB));
    await until(() => gate.held.length === 2);
    for (const each of [peer, fromOther]) {
      const refused = await t.throwsAsync(hold(each, 'refused', new Uint8Array(1)));
      t.like(refused, { code: 'Overloaded' });
    }
    gate.open();
    await Promise.all([held, more]);
    t.is(n1.peers.length, 1);
  });

  test(`${transport}: calls of one peer are handled up to a limit, over all of its connections`, async (t) => {
    const { peer, gate, n1, n2 } = await holdingPair(t, transport, {
      n2: { limits: { callsPerPeer: 3 } },
    });
    await n1.connect({ ...targetOf(n2), nodeId: undefined });
    t.is(peer.connections.length, 2);
    const held = [0, 1, 2].map((index) => hold(peer, `held ${index}`));
    await until(() => gate.held.length === 3);
    const refused = await t.throwsAsync(hold(peer, 'refused'));
    t.like(refused, { code: 'Overloaded', side: 'remote', maybeExecuted: false });
    t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
    // Another peer has a limit of its own.
    const other = await startNode(t, 'n3', { transports: [transport], listen: undefined });
    const fromOther = await other.connect(targetOf(n2));
    const others = hold(fromOther, 'of another');
    await until(() => gate.held.length === 4);
    gate.open();
    await Promise.all([...held, others]);
    const later = hold(peer, 'later');
    await until(() => gate.held.length === 1);
    gate.open();
    await later;
  });

  test(`${transport}: a call that was given up counts until its handler is done`, async (t) => {
    const { peer, gate } = await holdingPair(t, transport, {
      n2: { limits: { callsPerPeer: 2 } },
    });
    for (let round = 0; round < 2; round += 1) {
      const abort = new AbortController();
      const call = peer.request({ type: 'request', method: 'x' }, { signal: abort.signal });
      await until(() => gate.held.length === round + 1);
      abort.abort();
      t.like(await t.throwsAsync(call), { code: 'Cancelled' });
    }
    t.like(await t.throwsAsync(hold(peer, 'refused')), { code: 'Overloaded' });
    gate.open();
    const later = hold(peer, 'later');
    await until(() => gate.held.length === 1);
    gate.open();
    await later;
  });

  test(`${transport}: answers that a peer does not read count, and it is refused more`, async (t) => {
    const { n2 } = await holdingPair(t, transport, {
      n2: { limits: { connectionBytes: 16 * MIB } },
    });
    const connection = await bareClient(t, transport, n2);
    const call = new MessageCodec().encode({ type: 'request', method: 'big answer' });
    const silent = Array.from({ length: 60 }, () => {
      const opened = openCollected(connection);
      opened.stream.pause();
      opened.stream.send(call, { end: true });
      return opened;
    });
    // Answers of 1 MiB each: those of the windows leave, 16 wait, the rest is refused in a few bytes.
    const codec = new MessageCodec();
    const answers = silent.map(async ({ stream, collector }) => {
      stream.resume();
      return codec.decode(await collector.ended);
    });
    const types = (await Promise.all(answers)).map(({ type }) => type);
    t.true(types.includes('error'), `answered: ${types.join(' ')}`);
    t.true(types.includes('response'));
    // And when it has read them, it is served again.
    const again = openCollected(connection);
    again.stream.send(call, { end: true });
    t.is(codec.decode(await again.collector.ended).type, 'response');
  });

  test(`${transport}: large messages at once arrive, where their parts are more than the node keeps`, async (t) => {
    const { peer, gate } = await holdingPair(t, transport, {
      n1: { limits: { connectionBytes: 64 * MIB }, compression: { algorithms: [] } },
      n2: { limits: { connectionBytes: 16 * MIB, peerBytes: 64 * MIB, nodeBytes: 64 * MIB } },
    });
    const body = new Uint8Array(12 * MIB);
    const notes = [0, 1, 2, 3].map(() =>
      peer.request({ type: 'request', method: 'note', body }, { timeoutMs: 60_000 }),
    );
    for (const note of notes) t.like(await note, { type: 'response' });
    t.is(gate.notes, 4);
  });

  test(`${transport}: readers that stopped hold up nobody else, and what they keep is bounded`, async (t) => {
    const { n1, n2, peer } = await holdingPair(t, transport, {
      n2: { limits: { connectionBytes: 16 * MIB } },
    });
    n2.handle('dataTransfer', async (_open, { signal }) => {
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve, { once: true });
      });
    });
    const ends = new AbortController();
    setMaxListeners(0, ends.signal);
    let pulledBytes = 0;
    const failures: MeshError[] = [];
    const uploads = Array.from({ length: 100 }, async (_, index) => {
      const offer = function* () {
        for (let sent = 0; sent < 2 * MIB; sent += PIECE.length) {
          pulledBytes += PIECE.length;
          yield PIECE;
        }
      };
      const open = { transferId: `t${index}` };
      try {
        const options = {
          ...PATIENT,
          body: offer(),
          signal: ends.signal,
          priority: 'normal',
        } as const;
        for await (const _ of peer.stream(open, options));
      } catch (thrown) {
        if (!ends.signal.aborted) failures.push(thrown as MeshError);
      }
    });
    // 200 MiB are offered; the node keeps 16, and says so of the others.
    await until(() => failures.length > 20 && pulledBytes > 16 * MIB);
    await quiet(() => pulledBytes + failures.length);
    t.true(failures.length < 100, `${failures.length} were given up`);
    for (const error of failures) t.like(error, { code: 'Overloaded', side: 'remote' });
    // All this time others go by the same connection, more than a window of them.
    for (let round = 0; round < 5; round += 1) {
      const note = { type: 'request', method: 'note', body: new Uint8Array(5 * MIB) } as const;
      t.like(await peer.request(note, PATIENT), { type: 'response' });
      t.like(await peer.request(HEARTBEAT, PATIENT), { body: HEARTBEAT_REPLY });
    }
    ends.abort();
    await Promise.all(uploads);
    t.is(peer.connections.length, 1);
    t.is(n1.peers.length, 1);
  });

  for (const what of ['opens', 'resets'] as const) {
    test(`${transport}: a peer that ${what} streams too fast is cut off`, async (t) => {
      const rate = what === 'opens' ? { streamOpensPerSecond: 50 } : { streamResetsPerSecond: 50 };
      const { n2, peer } = await holdingPair(t, transport, { n2: { limits: rate } });
      const connection = await bareClient(t, transport, n2, 'n3');
      const call = new MessageCodec().encode({ type: 'request', method: 'note' });
      for (let count = 0; count < 2000 && connection.state.kind === 'open'; count += 1) {
        const { stream } = openCollected(connection);
        try {
          stream.send(call);
        } catch {
          break;
        }
        if (what === 'resets') stream.reset('Cancelled');
        else stream.end();
        if (count % 20 === 19) await new Promise(setImmediate);
      }
      t.like(await connection.closed, { code: 'Overloaded', side: 'remote' });
      t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
    });
  }

  test(`${transport}: a peer that resets streams over several connections is cut off as over one`, async (t) => {
    const limits = { streamResetsPerSecond: 10 };
    const { n2, peer } = await holdingPair(t, transport, { n2: { limits } });
    const dials = Array.from({ length: 6 }, () => bareClient(t, transport, n2, 'n3'));
    const connections = await Promise.all(dials);
    const call = new MessageCodec().encode({ type: 'request', method: 'note' });
    for (const connection of connections) {
      // Over each as many as are allowed over one.
      for (let count = 0; count < 8; count += 1) {
        const { stream } = openCollected(connection);
        stream.send(call);
        stream.reset('Cancelled');
      }
    }
    const ends = connections.map(({ closed }) => closed);
    t.like(await Promise.race(ends), { code: 'Overloaded', side: 'remote' });
    t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
  });

  test(`${transport}: a peer that sends too much that is wrong is cut off, and not let in again at once`, async (t) => {
    const limits = { errorsPerSecond: 1 };
    const { n2, peer } = await holdingPair(t, transport, { n2: { limits } });
    const connection = await bareClient(t, transport, n2, 'n3');
    // No connection is closed over one of them.
    for (let count = 0; count < 1000 && connection.state.kind === 'open'; count += 1) {
      const { stream, collector } = openCollected(connection);
      stream.send(Buffer.from('no message'), { end: true });
      await Promise.race([collector.ended, connection.closed]).catch(() => {});
    }
    t.like(await connection.closed, { code: 'Overloaded', side: 'remote' });
    t.like(await t.throwsAsync(bareClient(t, transport, n2, 'n3')), { code: 'Overloaded' });
    t.like(await peer.request(HEARTBEAT), { body: HEARTBEAT_REPLY });
  });

  test(`${transport}: trySend says false while there is no connection, and throws what never works`, async (t) => {
    const { peer, n2 } = await holdingPair(t, transport, {
      n2: { capabilities: { replication: false } },
    });
    const entries = { type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries: [] };
    const log = entries as { type: 'replicationLog' } & typeof entries;
    t.throws(() => peer.trySend(log as never), {
      instanceOf: MeshError,
      code: 'CapabilityMissing',
    });
    const tooLarge = { type: 'request', method: 'x', body: new Uint8Array(17 * MIB) } as const;
    t.throws(() => peer.trySend(tooLarge), { instanceOf: MeshError, code: 'MessageTooLarge' });
    await n2.close();
    // The other side may be told a moment later.
    await until(() => !peer.isConnected);
    t.false(peer.trySend({ type: 'request', method: 'note' }));
  });
}

test('limits are checked', async (t) => {
  for (const limits of [
    { callBytes: 1000 },
    { connectionBytes: MIB },
    { peerBytes: MIB },
    { nodeBytes: 0 },
    { callsPerPeer: 0 },
    { streamOpensPerSecond: -1 },
    { streamResetsPerSecond: 0.5 },
    { unknown: 1 },
  ]) {
    await t.throwsAsync(
      startNode(t, 'n1', { limits }),
      { code: 'InvalidOptions' },
      `${Object.keys(limits)}`,
    );
  }
});

/** Waits until a number stands still. */
async function quiet(count: () => number): Promise<void> {
  let last = -1;
  for (let still = 0; still < 20; still += 1) {
    if (count() !== last || last === 0) still = 0;
    last = count();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const PIECE = new Uint8Array(64 * 1024);
