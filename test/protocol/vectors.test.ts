/** Holds the codec to every vector of `test/vectors`, and the vectors to covering what SPEC.md says. */
import test from 'ava';
import { MeshError, type MeshErrorCode } from '../../src/errors.js';
import {
  acceptHandshake,
  completeHandshake,
  encodeCredit,
  encodeFrame,
  encodeGoAway,
  encodeReset,
  FrameDecoder,
  FrameFlag,
  type HandshakeRequest,
  type HandshakeResponse,
  type Message,
  MessageCodec,
  ReplayGuard,
} from '../../src/protocol/index.js';
import { MESSAGE_FIELDS } from '../../src/protocol/message.js';
import { receiveNaively } from './naive/receive.js';
import { codeOf } from './properties.js';
import { receive } from './receive.js';
import { raftBodies } from './samples.js';
import { spec } from './spec-page.js';
import {
  agreedOf,
  expectedOf,
  FILES,
  FRAME_FILES,
  type FrameVector,
  type RequestVector,
  type ResponseVector,
  readFrameVectors,
  readVectors,
} from './vectors.js';

const codec = new MessageCodec();
const frameVectors = FRAME_FILES.flatMap((file) => readFrameVectors(file).vectors);
const requests = readVectors<RequestVector>('handshake-requests.json').vectors;
const responses = readVectors<ResponseVector>('handshake-responses.json').vectors;
/** What only bytes can be wrong about; the other codes are of whole connections and calls. */
const DECODER_CODES: readonly MeshErrorCode[] = [
  'ChecksumMismatch',
  'FrameTooLarge',
  'MalformedMessage',
  'MessageTooLarge',
  'ProtocolViolation',
  'UnknownMessageType',
  'UnsupportedCompression',
  'VersionUnsupported',
];
/** Files whose messages are encoded as plainly as can be: to encode them again gives the same bytes. */
const PLAIN_FILES: readonly string[] = ['frames.json', 'messages.json'];

for (const file of FRAME_FILES) {
  for (const vector of readFrameVectors(file).vectors) {
    test(`${file}: ${vector.name}`, async (t) => {
      const bytes = Buffer.from(vector.hex, 'hex');
      const agreed = agreedOf(vector);
      const expected = expectedOf(vector);
      t.deepEqual(await receive([Buffer.from(bytes)], agreed), expected);
      const singleBytes = Array.from(bytes, (byte) => Buffer.of(byte));
      t.deepEqual(await receive(singleBytes, agreed), expected, 'byte by byte');
      t.deepEqual(await receiveNaively(bytes, agreed), expected, 'by the naive codec');
      const again = PLAIN_FILES.includes(file) ? encoded(vector) : undefined;
      if (again !== undefined) t.is(again.toString('hex'), vector.hex, 'encoded again');
    });
  }
}

for (const { name, hex, acceptor, expect } of requests) {
  test(`handshake-requests.json: ${name}`, (t) => {
    const { certifiedNodeIds, nowMs, seenNonces = [], maxNonces = 100_000 } = acceptor;
    const full = new MeshError('ConnectionLimitExceeded', 'full');
    const refusalOf = () => (acceptor.isFull === true ? full : undefined);
    const replayGuard = new ReplayGuard({ windowMs: 30_000, maxNonces });
    for (const nonce of seenNonces)
      replayGuard.check(Buffer.from(nonce, 'hex'), nowMs, nowMs, 'n1');
    const sessionId = Buffer.alloc(16, 9);
    const context = { certifiedNodeIds, nowMs, replayGuard, refusalOf, sessionId };
    const verdict = acceptHandshake(messageIn(hex) as HandshakeRequest, acceptor, context);
    const response = codec.decode(codec.encode(verdict.response));
    if (!expect.accepted) {
      t.is(verdict.kind, 'refused');
      t.like(response, { accepted: false, nodeId: acceptor.nodeId, code: expect.error });
      t.is(replayGuard.size, seenNonces.length, 'a refused nonce is not remembered');
    } else {
      const { version, capabilities, connectionClass, padBytes, peerNodeId = 'n1' } = expect;
      t.is(verdict.kind === 'accepted' ? verdict.negotiated.peerNodeId : undefined, peerNodeId);
      const { pad, ...others } = response as HandshakeResponse;
      t.is(pad?.length, padBytes);
      t.deepEqual(others, {
        type: 'handshakeResponse',
        accepted: true,
        nodeId: acceptor.nodeId,
        version,
        capabilities,
        sessionId,
        ...(connectionClass === undefined ? {} : { connectionClass }),
      });
    }
  });
}

for (const { name, hex, dialer, expect } of responses) {
  test(`handshake-responses.json: ${name}`, (t) => {
    const { expectedNodeId, certifiedNodeIds } = dialer;
    const complete = () =>
      completeHandshake(
        messageIn(hex) as HandshakeResponse,
        { ...dialer, nodeId: 'n1' },
        { certifiedNodeIds, expectedNodeId: expectedNodeId ?? undefined },
      );
    if ('error' in expect) t.is(codeOf(complete), expect.error);
    else t.like(complete(), expect);
  });
}

test('there are as many vectors as promised, and each has a name of its own', (t) => {
  const all = [...frameVectors, ...requests, ...responses];
  const refused = frameVectors.filter(({ expect }) => 'error' in expect);
  t.log(`${all.length} vectors, ${refused.length} of frames that are refused`);
  t.true(all.length >= 120);
  t.true(refused.length >= 50);
  for (const file of FILES) {
    const names = readVectors<{ name: string }>(file).vectors.map(({ name }) => name);
    t.is(new Set(names).size, names.length, file);
  }
});

test('every file says what it is, and names sections of SPEC.md', (t) => {
  for (const file of FILES) {
    const { description, spec: sections, howToRead } = readVectors(file);
    t.true(description.length > 20 && howToRead.length > 0, file);
    for (const section of sections) t.regex(spec, new RegExp(`^## ${section}$`, 'm'));
  }
});

test('every vector is lowercase hex', (t) => {
  for (const { hex, name } of [...frameVectors, ...requests, ...responses]) {
    t.regex(hex, /^([0-9a-f]{2})*$/, name);
  }
});

test('every message, every kind of Raft message and every compression is among those taken', (t) => {
  const taken = frameVectors.flatMap(({ expect }) => ('flags' in expect ? [expect] : []));
  const messages = taken.flatMap(({ message }) => (message === undefined ? [] : [message]));
  const types = new Set(messages.map(({ type }) => type));
  t.deepEqual([...types].sort(), Object.keys(MESSAGE_FIELDS).sort());
  const kinds = new Set(messages.map((message) => (message as { body?: Kind }).body?.kind));
  for (const kind of Object.keys(raftBodies)) t.true(kinds.has(kind), kind);
  const flags = taken.map((each) => Number(each.flags));
  const bitsUnder = (mask: number) =>
    [...new Set(flags.map((bits) => bits & mask))].sort((a, b) => a - b);
  t.deepEqual(bitsUnder(0x00ff), [0x01, 0x11, 0x21, 0x81, 0x91, 0xa1]);
  t.deepEqual(bitsUnder(0x0700), [0, 0x0100, 0x0200, 0x0400]);
});

test('every code that bytes alone can lead to is among those refused', (t) => {
  const codes = frameVectors.flatMap(({ expect }) => ('error' in expect ? [expect.error] : []));
  t.deepEqual([...new Set(codes)].sort(), DECODER_CODES);
});

test('every code that an acceptor can answer with is met on both sides', (t) => {
  const list = spec.match(/code of its refusal:\n[\s\S]*?Only a request/)?.[0] ?? '';
  const codes = [...list.matchAll(/^\d\. `(\w+)`/gm)].map(([, code]) => code);
  t.is(codes.length, 10);
  const given = requests.map(({ expect }) => (expect.accepted ? '' : expect.error));
  const taken = responses.map(({ expect }) => ('error' in expect ? expect.error : ''));
  for (const code of codes as MeshErrorCode[]) t.true(given.includes(code) && taken.includes(code));
});

type Kind = { readonly kind?: string } | undefined;

function messageIn(hex: string): Message {
  const decoder = new FrameDecoder();
  decoder.push(Buffer.from(hex, 'hex'));
  return codec.decode(decoder.next()?.payload as Uint8Array);
}

/** A vector's frame, made from what it is expected to say. */
function encoded(vector: FrameVector): Buffer | undefined {
  if (!('flags' in vector.expect)) return undefined;
  const { messageId, reset, credit, goAway } = vector.expect;
  const flags = Number(vector.expect.flags);
  const { message } = expectedOf(vector) as { message?: Message };
  const payload =
    message !== undefined
      ? codec.encode(message)
      : reset !== undefined
        ? encodeReset(reset)
        : credit !== undefined
          ? encodeCredit(credit)
          : goAway !== undefined
            ? encodeGoAway(goAway)
            : Buffer.alloc(0);
  // Codes that read as unknown are not sent.
  if (vector.note?.includes('unknown') === true) return undefined;
  return encodeFrame({
    control: flags & (FrameFlag.end | FrameFlag.reset | FrameFlag.credit),
    messageId,
    payload,
    checksum: (flags & FrameFlag.checksum) !== 0,
  });
}
