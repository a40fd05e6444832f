/** Sessions that are retired: calls under way end, and whoever waits for that does not wait for ever. */
import { duplexPair } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { NodeAccount, PeerAccount } from '../../src/calls/session/peer-account.js';
import { CallSession } from '../../src/calls/session/session.js';
import { ResumedTransfers } from '../../src/calls/transfers/resumed-transfers.js';
import type { Handler, HandlerKind } from '../../src/calls/types.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { FrameCodec } from '../../src/protocol/frame-codec.js';
import type { Connection } from '../../src/transport/connection.js';
import { memoryConnection, memoryPair } from '../helpers/memory-pair.js';
import { until } from '../helpers/until.js';

const MAX_MESSAGE_BYTES = 1024 * 1024;
const LIMITS = {
  connectionBytes: MAX_MESSAGE_BYTES,
  peerBytes: MAX_MESSAGE_BYTES,
  nodeBytes: MAX_MESSAGE_BYTES,
  callsPerPeer: 100,
};

test('a retired session serves what is under way, both ways, and refuses what comes later', async (t) => {
  const pair = await memoryPair();
  t.teardown(() => pair.close());
  const answers: (() => void)[] = [];
  const handler: Handler<HandlerKind> = () =>
    new Promise((resolve) => answers.push(() => resolve({ result: 'done' })));
  const [n1, n2] = [pair.dialer, pair.acceptor].map((connection) =>
    sessionOver(connection, new Map([['query', handler]])),
  ) as [CallSession, CallSession];
  const ask = (session: CallSession) =>
    session.request({ type: 'queryRequest', query: 'x' }, { timeoutMs: 30_000 });
  // Those of n2 may be on their way when n1 goes away.
  const under = [ask(n1), ask(n2)];
  let isRetired = false;
  const retired = n1.retire('not needed').then(() => {
    isRetired = true;
  });
  t.false(n1.isOpen);
  under.push(ask(n2));
  t.like(await t.throwsAsync(ask(n1)), { code: 'GoingAway', maybeExecuted: false });
  await until(() => !n2.isOpen && answers.length === 3);
  t.false(n2.takes({ bytes: 1, replaySafe: true }));
  t.like(await t.throwsAsync(ask(n2)), { code: 'GoingAway', maybeExecuted: false });
  for (const answer of answers) {
    t.false(isRetired);
    answer();
    await new Promise(setImmediate);
  }
  for (const reply of under) t.like(await reply, { result: 'done' });
  await retired;
  t.is(pair.dialer.state.kind, 'closed');
});

test('a peer that does not go away too is waited for no longer than 5 s', async (t) => {
  const { session } = deafPeer(t);
  // Nothing else keeps the process: the wait itself must not.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  const beganMs = performance.now();
  await session.retire('not needed');
  t.true(performance.now() - beganMs >= 4900);
  t.false(session.isOpen);
  t.is(session.connection.state.kind, 'closed');
});

test('a retirement ends with its connection', async (t) => {
  const { session } = deafPeer(t);
  const call = session.request({ type: 'queryRequest', query: 'x' }, { timeoutMs: 30_000 });
  const retired = session.retire('not needed');
  void session.connection.close();
  await retired;
  t.like(await t.throwsAsync(call), { code: 'ConnectionClosed' });
});

function sessionOver(
  connection: Connection,
  handlers = new Map<HandlerKind, Handler<HandlerKind>>(),
): CallSession {
  const session = new CallSession({
    connection,
    peerNodeId: 'peer',
    capabilities: {
      query: true,
      replication: true,
      consensus: true,
      dataTransfer: true,
      maxStreams: 100,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      compressions: [],
      checksum: true,
    },
    agreed: true,
    codec: new FrameCodec({
      codec: new MessageCodec(),
      thresholdBytes: MAX_MESSAGE_BYTES,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      algorithms: [],
    }),
    handlers,
    account: new PeerAccount(new NodeAccount(LIMITS), LIMITS),
    transfers: new ResumedTransfers(),
    onHandlerFailure() {},
    onCallRefused() {},
  });
  connection.onStream = session.accept;
  return session;
}

/** A session whose peer reads, and says nothing. */
function deafPeer(t: ExecutionContext): { session: CallSession } {
  const [near, far] = duplexPair();
  far.resume();
  far.once('end', () => far.end());
  const connection = memoryConnection(near, 'dialer');
  t.teardown(() => connection.close());
  return { session: sessionOver(connection) };
}
