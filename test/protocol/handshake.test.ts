import test from 'ava';
import fc from 'fast-check';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import {
  type AcceptanceContext,
  acceptHandshake,
  completeHandshake,
  createHandshakeRequest,
  type HandshakeConfig,
  type HandshakeState,
  type HandshakeStateKind,
  type Negotiated,
  negotiateCapabilities,
  nextHandshakeState,
  type ResponseContext,
} from '../../src/protocol/handshake.js';
import type {
  Capabilities,
  HandshakeRequest,
  HandshakeResponse,
} from '../../src/protocol/message.js';
import { ReplayGuard } from '../../src/protocol/replay-guard.js';
import { codeOf, errorOf, holds } from './properties.js';
import { capabilities } from './samples.js';

const T0 = 1_767_225_600_000;
const SESSION_ID = Buffer.alloc(16, 9);
const NONCE = Buffer.alloc(16, 7);

const dialer: HandshakeConfig = { nodeId: 'n1', cluster: 'demo', capabilities };
const acceptor: HandshakeConfig = { nodeId: 'n2', cluster: 'demo', capabilities };

const STATES: { readonly [K in HandshakeStateKind]: HandshakeState } = {
  idle: { kind: 'idle' },
  requested: { kind: 'requested' },
  accepted: { kind: 'accepted', negotiated: accept().negotiated },
  refused: { kind: 'refused', code: 'ClockSkew' },
};
const ALLOWED = ['idle>requested', 'idle>refused', 'requested>accepted', 'requested>refused'];

for (const from of Object.values(STATES)) {
  for (const to of Object.values(STATES)) {
    const isAllowed = ALLOWED.includes(`${from.kind}>${to.kind}`);
    test(`a handshake ${isAllowed ? 'goes' : 'never goes'} from ${from.kind} to ${to.kind}`, (t) => {
      if (isAllowed) return t.is(nextHandshakeState(from, to), to);
      const before = structuredClone([from, to]);
      t.is(
        codeOf(() => nextHandshakeState(from, to)),
        'HandshakeRepeated',
      );
      return t.deepEqual(structuredClone([from, to]), before);
    });
  }
}

test('a request says what the config says, with clock and nonce as given', (t) => {
  t.deepEqual(createHandshakeRequest({ ...dialer, authToken: 'secret' }, T0, NONCE), {
    type: 'handshakeRequest',
    versions: [1],
    nodeId: 'n1',
    cluster: 'demo',
    capabilities,
    timestampMs: T0,
    nonce: NONCE,
    authToken: 'secret',
  });
  t.false('authToken' in request());
});

test('both sides of an accepted handshake know the same', (t) => {
  const dialing = { ...dialer, capabilities: { ...capabilities, maxStreams: 10, query: false } };
  const accepting = {
    ...acceptor,
    capabilities: { ...capabilities, maxStreams: 20, maxMessageBytes: 4096, compressions: ['lz4'] },
  };
  const { response, negotiated: there } = accept({ dialing, accepting });
  const here = complete(response, dialing);
  t.is(there.peerNodeId, 'n1');
  t.is(here.peerNodeId, 'n2');
  t.deepEqual(here.capabilities, there.capabilities);
  t.deepEqual(here.sessionId, SESSION_ID);
  t.is(there.maxOutgoingStreams, 10);
  t.is(there.maxIncomingStreams, 20);
  t.is(here.maxOutgoingStreams, 20);
  t.is(here.maxIncomingStreams, 10);
  t.like(here.capabilities, { query: false, maxMessageBytes: 4096, compressions: ['lz4'] });
});

test('any two sides agree, through the codec, on what neither lacks', (t) => {
  const codec = new MessageCodec();
  holds(
    t,
    fc.property(anyCapabilities(), anyCapabilities(), (ours, theirs) => {
      const dialing = { ...dialer, capabilities: ours };
      const accepting = { ...acceptor, capabilities: theirs };
      const { response, negotiated: there } = accept({ dialing, accepting });
      const arrived = codec.decode(codec.encode(response)) as HandshakeResponse;
      const here = complete(arrived, dialing);
      t.deepEqual(here.capabilities, there.capabilities);
      const agreed = here.capabilities;
      return (
        (['query', 'replication', 'consensus', 'dataTransfer'] as const).every(
          (name) => agreed[name] === (ours[name] && theirs[name]),
        ) &&
        agreed.maxMessageBytes === Math.min(ours.maxMessageBytes, theirs.maxMessageBytes) &&
        agreed.checksum === (ours.checksum || theirs.checksum) &&
        agreed.compressions.every((name) => ours.compressions.includes(name)) &&
        agreed.compressions.every((name) => theirs.compressions.includes(name)) &&
        here.maxOutgoingStreams === there.maxIncomingStreams &&
        here.maxIncomingStreams === there.maxOutgoingStreams
      );
    }),
    300,
  );
});

test('compressions are agreed in the order of the acceptor', (t) => {
  const ours = { ...capabilities, compressions: ['lz4', 'none-such', 'zstd'] };
  const theirs = { ...capabilities, compressions: ['zstd', 'lz4'] };
  t.deepEqual(negotiateCapabilities(ours, theirs).compressions, ['lz4', 'zstd']);
});

test('the highest version that both speak is chosen', (t) => {
  const dialing = { ...dialer, versions: [1, 3, 2] };
  const accepting = { ...acceptor, versions: [4, 2, 1] };
  const { response, negotiated } = accept({ dialing, accepting });
  t.is(negotiated.version, 2);
  t.is(complete(response, dialing).version, 2);
});

interface RefusalCase {
  readonly code: MeshErrorCode;
  readonly title: string;
  readonly request?: Partial<HandshakeRequest>;
  readonly accepting?: Partial<HandshakeConfig>;
  readonly context?: Partial<AcceptanceContext>;
}

/** In the order in which an acceptor checks; each fails its own check and none before. */
const REFUSALS: readonly RefusalCase[] = [
  { code: 'VersionUnsupported', title: 'no common version', request: { versions: [2, 9] } },
  { code: 'ClusterMismatch', title: 'another cluster', request: { cluster: 'Demo' } },
  {
    code: 'CertificateNameMismatch',
    title: 'a node id that the certificate does not prove',
    context: { certifiedNodeIds: ['n3', '*', '*.n1', 'n1.'] },
  },
  {
    code: 'NodeIdMismatch',
    title: 'the node id of the acceptor itself',
    accepting: { nodeId: 'N1' },
  },
  {
    code: 'AuthTokenRejected',
    title: 'a wrong token',
    request: { authToken: 'guess' },
    accepting: { authToken: 'secret' },
  },
  { code: 'ClockSkew', title: 'a clock 31 s off', context: { nowMs: T0 + 31_000 } },
  {
    code: 'NonceReplayed',
    title: 'a nonce seen before',
    context: { replayGuard: guardWith(100, NONCE) },
  },
  {
    code: 'Overloaded',
    title: 'a full replay guard',
    context: { replayGuard: guardWith(1, Buffer.alloc(16)) },
  },
];

for (const { code, title, ...parts } of REFUSALS) {
  test(`a request with ${title} is refused as ${code}`, (t) => {
    const verdict = judge(parts);
    if (verdict.kind !== 'refused') return t.fail();
    t.is(verdict.error.code, code);
    t.is(verdict.error.side, 'local');
    t.deepEqual(verdict.response, {
      type: 'handshakeResponse',
      accepted: false,
      nodeId: parts.accepting?.nodeId ?? 'n2',
      code,
      text: verdict.error.message,
    });
    const seen = errorOf(() => complete(verdict.response));
    return t.like(seen, { code, side: 'remote', message: verdict.error.message });
  });
}

test('of several reasons to refuse, the first in order answers', (t) => {
  // The last two are verdicts of the guard, of which there is one at a time.
  const cases = REFUSALS.slice(0, -1);
  for (let first = 0; first < cases.length; first += 1) {
    const all = cases.slice(first);
    const verdict = judge({
      request: Object.assign({}, ...all.map((one) => one.request)),
      accepting: Object.assign({}, ...all.map((one) => one.accepting)),
      context: Object.assign({}, ...all.map((one) => one.context)),
    });
    t.is(verdict.kind === 'refused' ? verdict.error.code : undefined, all[0]?.code);
  }
});

test('a refused request takes no room in the replay guard', (t) => {
  for (const { code, ...parts } of REFUSALS.slice(0, 6)) {
    const replayGuard = new ReplayGuard();
    judge({ ...parts, context: { ...parts.context, replayGuard } });
    t.is(replayGuard.size, 0, code);
  }
});

test('an accepted request cannot be accepted again', (t) => {
  const replayGuard = new ReplayGuard();
  t.is(judge({ context: { replayGuard } }).kind, 'accepted');
  const again = judge({ context: { replayGuard, nowMs: T0 + 30_000 } });
  t.is(again.kind === 'refused' && again.error.code, 'NonceReplayed');
});

test('a token is demanded exactly where one is configured', (t) => {
  const demanding = { authToken: 'secret' };
  const rejected = [undefined, '', 'secre', 'secret ', 'SECRET', 'secret\0'];
  for (const authToken of rejected) {
    const shown = authToken === undefined ? {} : { authToken };
    const verdict = judge({ accepting: demanding, request: shown });
    t.is(verdict.kind === 'refused' && verdict.error.code, 'AuthTokenRejected');
  }
  t.is(judge({ accepting: demanding, request: { authToken: 'secret' } }).kind, 'accepted');
  t.is(judge({ request: { authToken: 'not asked for' } }).kind, 'accepted');
});

test('a refusal tells nothing of the token or the cluster of the acceptor', (t) => {
  for (const parts of [REFUSALS[1], REFUSALS[4]] as RefusalCase[]) {
    const verdict = judge({ ...parts, accepting: { authToken: 'secret', cluster: 'inner' } });
    t.notRegex(JSON.stringify(verdict.response), /secret|guess|inner/);
  }
});

test('every refusal fits its message, also of the longest request', (t) => {
  const codec = new MessageCodec();
  const longest = {
    versions: Array.from({ length: 16 }, (_, i) => Number.MAX_SAFE_INTEGER - i),
    nodeId: 'x'.repeat(253),
  };
  for (const parts of [{ request: longest }, { request: { ...longest, versions: [1] } }]) {
    const verdict = judge(parts);
    t.is(verdict.kind, 'refused');
    t.deepEqual(codec.decode(codec.encode(verdict.response)), verdict.response);
  }
});

test('however the peer spells its node id, what is agreed has the canonical spelling', (t) => {
  const asked: string[] = [];
  const verdict = judge({
    request: { nodeId: 'K1' },
    accepting: { verifyToken: (_token, nodeId) => asked.push(nodeId) > 0 },
    context: {
      certifiedNodeIds: ['other', 'k1'],
      refusalOf: (nodeId) => {
        asked.push(nodeId);
        return undefined;
      },
    },
  });
  t.is(verdict.kind === 'accepted' ? verdict.negotiated.peerNodeId : undefined, 'k1');
  t.deepEqual(asked, ['k1', 'k1']);
  const { response } = accept();
  const context = { certifiedNodeIds: ['N2', 'n2'], expectedNodeId: 'N2' };
  t.is(complete({ ...response, nodeId: 'N2' }, dialer, context).peerNodeId, 'n2');
});

test('what is no node id is claimed by nobody, whatever the certificate says', (t) => {
  for (const nodeId of ['', '*', 'n1 ', 'n1.', '10.0.0.1', '\u212a1', 'n1\0']) {
    const context = {
      certifiedNodeIds: [nodeId, 'k1', 'n1'],
      refusalOf: () => t.fail('it is no dialer'),
    };
    const verdict = judge({ request: { nodeId }, context });
    t.is(verdict.kind === 'refused' ? verdict.error.code : verdict.kind, 'CertificateNameMismatch');
    const answer = { ...accept().response, nodeId };
    const error = errorOf(() => complete(answer, dialer, { certifiedNodeIds: [nodeId, 'n2'] }));
    t.is(error.code, 'CertificateNameMismatch');
  }
});

test('a refusal quotes what the peer sent, and no more than a line of it', (t) => {
  const verdict = judge({ request: { nodeId: `n1\n${'x'.repeat(200)}` } });
  const text = verdict.kind === 'refused' ? verdict.error.message : '';
  t.notRegex(text, /\n/);
  t.true(text.length < 160);
});

const ANSWERS: readonly {
  readonly title: string;
  readonly code: MeshErrorCode;
  readonly response?: Partial<HandshakeResponse>;
  readonly context?: Partial<ResponseContext>;
}[] = [
  { title: 'a version that was not offered', code: 'VersionUnsupported', response: { version: 2 } },
  {
    title: 'a node id that its certificate does not prove',
    code: 'CertificateNameMismatch',
    response: { nodeId: 'n3' },
  },
  {
    title: 'another node id than was dialed',
    code: 'NodeIdMismatch',
    context: { expectedNodeId: 'n3', certifiedNodeIds: ['n2', 'n3'] },
  },
];

for (const { title, code, response, context } of ANSWERS) {
  test(`an answer with ${title} is not taken`, (t) => {
    const error = errorOf(() => complete({ ...accept().response, ...response }, dialer, context));
    t.like(error, { code, side: 'local' });
  });
}

for (const name of ['version', 'capabilities', 'sessionId'] as const) {
  test(`an acceptance without ${name} is malformed`, (t) => {
    const { [name]: _, ...rest } = accept().response;
    t.is(
      codeOf(() => complete(rest)),
      'MalformedMessage',
    );
  });
}

test('an answer is taken from the node that was dialed, in any case, or from any if none was named', (t) => {
  const { response } = accept();
  t.is(complete(response, dialer, { expectedNodeId: 'N2' }).peerNodeId, 'n2');
  t.is(complete(response, dialer, { expectedNodeId: undefined }).peerNodeId, 'n2');
});

test('an answer cannot agree to what was not offered', (t) => {
  const modest: Capabilities = {
    ...capabilities,
    consensus: false,
    maxMessageBytes: 1024,
    compressions: [],
  };
  const agreed = complete(accept().response, { ...dialer, capabilities: modest }).capabilities;
  t.like(agreed, { consensus: false, query: true, maxMessageBytes: 1024, compressions: [] });
});

test('a refusal with a code of a later version reads as ConnectFailed, without losing its text', (t) => {
  const refusal = { type: 'handshakeResponse', accepted: false, nodeId: 'n2' } as const;
  for (const code of ['SomethingNew', '__proto__', 'toString', '']) {
    const error = errorOf(() => complete({ ...refusal, code, text: 'because' }));
    t.like(error, { code: 'ConnectFailed', side: 'remote', message: 'because' });
  }
  t.like(
    errorOf(() => complete(refusal)),
    { code: 'ConnectFailed', message: 'handshake refused' },
  );
});

function request(config: HandshakeConfig = dialer): HandshakeRequest {
  return createHandshakeRequest(config, T0, NONCE);
}

/** The verdict on a request that would be accepted but for the parts that differ. */
function judge(parts: Omit<RefusalCase, 'code' | 'title'>): ReturnType<typeof acceptHandshake> {
  return acceptHandshake(
    { ...request(), ...parts.request },
    { ...acceptor, ...parts.accepting },
    {
      certifiedNodeIds: ['n1', 'x'.repeat(10)],
      nowMs: T0,
      replayGuard: new ReplayGuard(),
      sessionId: SESSION_ID,
      ...parts.context,
    },
  );
}

function accept(sides: { dialing?: HandshakeConfig; accepting?: HandshakeConfig } = {}): {
  response: HandshakeResponse;
  negotiated: Negotiated;
} {
  const verdict = judge({
    request: request(sides.dialing),
    ...(sides.accepting === undefined ? {} : { accepting: sides.accepting }),
  });
  if (verdict.kind === 'accepted') return verdict;
  throw verdict.error;
}

function complete(
  response: HandshakeResponse,
  config: HandshakeConfig = dialer,
  context: Partial<ResponseContext> = {},
): Negotiated {
  return completeHandshake(response, config, {
    certifiedNodeIds: ['n2'],
    expectedNodeId: 'n2',
    ...context,
  });
}

function guardWith(maxNonces: number, seen: Buffer): ReplayGuard {
  const guard = new ReplayGuard({ windowMs: 30_000, maxNonces });
  if (guard.check(seen, T0, T0, 'n1') !== 'fresh')
    throw new MeshError('InternalError', 'guard is full');
  return guard;
}

function anyCapabilities(): fc.Arbitrary<Capabilities> {
  return fc.record({
    query: fc.boolean(),
    replication: fc.boolean(),
    consensus: fc.boolean(),
    dataTransfer: fc.boolean(),
    maxStreams: fc.integer({ min: 1, max: 100_000 }),
    maxMessageBytes: fc.maxSafeNat().map((bytes) => Math.max(bytes, 4096)),
    compressions: fc.uniqueArray(fc.constantFrom('lz4', 'zstd', 'brotli', 'snappy')),
    checksum: fc.boolean(),
  });
}
