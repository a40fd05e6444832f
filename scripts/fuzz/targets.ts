/** What is fuzzed: code that reads bytes of a peer. Each target says which ends an input may come to. */
import { asMeshError, type MeshError, type MeshErrorCode } from '../../src/errors.js';
import {
  type Algorithm,
  acceptHandshake,
  type Capabilities,
  CHECKSUM_BYTES,
  Compression,
  completeHandshake,
  crc32,
  decodeCredit,
  decodeGoAway,
  decodeReset,
  encodeFrame,
  type Frame,
  FrameDecoder,
  FrameFlag,
  type HandshakeConfig,
  HEADER_BYTES,
  loadCompression,
  type Message,
  MessageCodec,
  ReplayGuard,
  unpackPayload,
} from '../../src/protocol/index.js';
import { HalfOpenGuard } from '../../src/transport/quic/admission/half-open-guard.js';
import { RetryTokens } from '../../src/transport/quic/admission/retry-token.js';
import {
  MAX_RESET_RANDOM_BYTES,
  mayBeReset,
  ResetTokens,
} from '../../src/transport/quic/admission/stateless-reset.js';
import { answerVersion } from '../../src/transport/quic/admission/version-negotiation.js';
import {
  type DropReason,
  readInitialHeader,
  routeDatagram,
} from '../../src/transport/quic/io/packet.js';
import { readCertificate } from '../../src/transport/trust/certificate-fields.js';
import { checkPath, mayIssue } from '../../src/transport/trust/chain-rules.js';
import { certificates, datagrams, frames, KNOWN_ID, payloads } from './corpus.js';
import type { Random } from './random.js';

/**
 * The end of an input by name, or the rest of the work: what runs on the event loop once other threads are done. So
 * each stretch on the event loop can be timed.
 */
export type Step = string | Promise<() => Step>;

export interface Target {
  readonly name: string;
  /** How many of all inputs it gets, in relation to the others. */
  readonly share: number;
  readonly seeds: readonly Buffer[];
  /** Codes with which an input may be refused. */
  readonly codes: readonly MeshErrorCode[];
  /** Gets a mutated input past the checks that stop nearly every one, at times. */
  readonly repair?: (input: Buffer, random: Random) => Buffer;
  /** @throws MeshError with one of the codes; anything else is a failure */
  readonly run: (input: Buffer) => Step;
}

/**
 * Payloads may be as long as that. What a message costs grows with it: a node with a smaller limit is faster to
 * refuse, too.
 */
const MAX_MESSAGE_BYTES = 128 * 1024;
const NOW_MS = 1_767_225_600_000;

const CLIENT = { host: '192.0.2.1', port: 4433 };
const retryTokens = new RetryTokens(0);
const resets = new ResetTokens('a key', CLIENT);

const codec = new MessageCodec(MAX_MESSAGE_BYTES);
const algorithms: Readonly<Record<'lz4' | 'zstd', Algorithm>> = {
  lz4: await loadCompression('lz4'),
  zstd: await loadCompression('zstd'),
};

const HEADER_CODES: readonly MeshErrorCode[] = [
  'VersionUnsupported',
  'ProtocolViolation',
  'FrameTooLarge',
  'UnsupportedCompression',
  'ChecksumMismatch',
];
const MESSAGE_CODES: readonly MeshErrorCode[] = ['MalformedMessage', 'UnknownMessageType'];
const UNPACK_CODES: readonly MeshErrorCode[] = ['MalformedMessage', 'MessageTooLarge'];

export const TARGETS: readonly Target[] = [
  {
    name: 'frame',
    share: 25,
    seeds: [...frames(), ...pairs(frames(/^frames/))],
    codes: HEADER_CODES,
    repair: repairFrame,
    run: readStream,
  },
  {
    name: 'cbor',
    share: 30,
    seeds: [
      ...often(payloads(/^(messages|payloads)/, Compression.none)),
      ...payloads(/^refused-(messages|payloads)/, Compression.none),
    ],
    codes: MESSAGE_CODES,
    run: (input) => readAgain(codec.decode(input)),
  },
  {
    name: 'lz4',
    share: 13,
    seeds: [
      ...often(payloads(/^compression/, Compression.lz4)),
      ...payloads(/^refused-compression/, Compression.lz4),
    ],
    codes: UNPACK_CODES,
    repair: repairLength,
    run: (input) => unpack(input, algorithms.lz4),
  },
  {
    name: 'zstd',
    share: 8,
    seeds: [
      ...often(payloads(/^compression/, Compression.zstd)),
      ...payloads(/^refused-compression/, Compression.zstd),
    ],
    codes: UNPACK_CODES,
    repair: repairLength,
    run: (input) => unpack(input, algorithms.zstd),
  },
  {
    name: 'message',
    share: 8,
    seeds: [...often(frames(/^(compression|messages|payloads)/)), ...frames(/^refused/)],
    codes: [...HEADER_CODES, ...MESSAGE_CODES, ...UNPACK_CODES],
    repair: (input, random) => (random.oneIn(8) ? input : withChecksum(withLength(input))),
    run: readWhole,
  },
  {
    name: 'handshake',
    share: 8,
    seeds: payloads(/^handshake/, Compression.none),
    codes: [
      ...MESSAGE_CODES,
      'VersionUnsupported',
      'ClusterMismatch',
      'CertificateNameMismatch',
      'NodeIdMismatch',
      'AuthTokenRejected',
      'ConnectionLimitExceeded',
      'GoingAway',
      'ClockSkew',
      'NonceReplayed',
      'Overloaded',
      'ConnectFailed',
    ],
    run: shakeHands,
  },
  {
    name: 'datagram',
    share: 8,
    seeds: datagrams(),
    codes: [],
    run: route,
  },
  {
    name: 'certificate',
    share: 8,
    seeds: certificates(),
    codes: ['InvalidOptions', 'CertificateInvalid', 'CertificateUntrusted', 'CertificateUsage'],
    run: judge,
  },
];

/** A certificate as it stands in a chain, below itself: what it says of names holds for its own. */
function judge(input: Buffer): Step {
  const before = Buffer.from(input);
  const certificate = readCertificate(input);
  expect(before.equals(input), 'a certificate that was changed');
  for (const role of ['dialer', 'acceptor'] as const) checkPath([certificate, certificate], role);
  return mayIssue(certificate) ? 'a CA' : 'a leaf';
}

/** All frames of a stream, whole and in two chunks, each of them encoded again. */
function readStream(input: Buffer): Step {
  const whole = framesIn([input]);
  const cut = input.length === 0 ? 0 : (input[input.length >> 1] as number) % (input.length + 1);
  const halves = framesIn([input.subarray(0, cut), input.subarray(cut)]);
  expect(whole.frames.length === halves.frames.length, 'chunks change the number of frames');
  expect(whole.error?.code === halves.error?.code, 'chunks change the refusal');
  let at = 0;
  for (const frame of whole.frames) {
    const again = encodeAgain(frame);
    expect(again.equals(input.subarray(at, at + again.length)), 'a frame is another again');
    at += again.length;
    readControl(frame);
  }
  if (whole.error !== undefined) throw whole.error;
  return whole.frames.length === 0 ? 'waiting' : 'frames';
}

function framesIn(chunks: readonly Buffer[]): {
  readonly frames: readonly Frame[];
  readonly error: MeshError | undefined;
} {
  // Chunks belong to the decoder.
  const decoder = new FrameDecoder({ requireChecksum: false, maxPayloadBytes: MAX_MESSAGE_BYTES });
  const found: Frame[] = [];
  try {
    for (const chunk of chunks) {
      decoder.push(Buffer.from(chunk));
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next())
        found.push(frame);
    }
    return { frames: found, error: undefined };
  } catch (error) {
    const refusal = asMeshError(error);
    if (refusal === undefined) throw error;
    return { frames: found, error: refusal };
  }
}

function encodeAgain({ flags, compression, messageId, payload }: Frame): Buffer {
  return encodeFrame({
    control: flags & (FrameFlag.end | FrameFlag.reset | FrameFlag.credit | FrameFlag.more),
    compression,
    messageId,
    payload,
    checksum: (flags & FrameFlag.checksum) !== 0,
  });
}

function readControl({ flags, messageId, payload }: Frame): void {
  if ((flags & FrameFlag.reset) !== 0) decodeReset(payload, 'StreamReset');
  else if ((flags & FrameFlag.credit) !== 0) decodeCredit(payload);
  else if (messageId === 0) decodeGoAway(payload);
}

/** A decoded message has to be one that can be sent, save for values that only JavaScript cannot send back. */
function readAgain(message: Message): string {
  let payload: Uint8Array;
  try {
    payload = codec.encode(message);
  } catch (error) {
    const code = asMeshError(error)?.code;
    if (code === 'InvalidArgument' || code === 'MessageTooLarge') return `${message.type}, one way`;
    throw error;
  }
  expect(codec.decode(payload).type === message.type, 'a message is another again');
  return message.type;
}

function unpack(input: Buffer, algorithm: Algorithm): Step {
  const raw = unpackPayload(input, algorithm, MAX_MESSAGE_BYTES);
  const done = (result: Uint8Array): string => {
    expect(result.length === input.readUInt32BE(0), 'another length than stated');
    return 'unpacked';
  };
  return raw instanceof Promise ? later(raw, done) : done(raw);
}

/** A frame to its message. */
function readWhole(input: Buffer): Step {
  const decoder = new FrameDecoder({ requireChecksum: false, maxPayloadBytes: MAX_MESSAGE_BYTES });
  decoder.push(Buffer.from(input));
  const frame = decoder.next();
  if (frame === undefined) return 'waiting';
  const { flags, compression, messageId, payload } = frame;
  const isControl = messageId === 0 || (flags & (FrameFlag.reset | FrameFlag.credit)) !== 0;
  if (isControl) return 'control';
  if (compression === Compression.none) return codec.decode(payload).type;
  const algorithm = compression === Compression.lz4 ? algorithms.lz4 : algorithms.zstd;
  const raw = unpackPayload(payload, algorithm, MAX_MESSAGE_BYTES);
  const done = (result: Uint8Array): string => `${codec.decode(result).type}, ${algorithm.name}`;
  return raw instanceof Promise ? later(raw, done) : done(raw);
}

const capabilities: Capabilities = {
  query: true,
  replication: true,
  consensus: false,
  dataTransfer: true,
  maxStreams: 1024,
  maxMessageBytes: 16 * 1024 * 1024,
  compressions: ['zstd', 'lz4'],
  checksum: true,
};
const acceptor: HandshakeConfig = { nodeId: 'n2', cluster: 'demo', capabilities };
const demanding: HandshakeConfig = { ...acceptor, authToken: 'secret', versions: [1, 2] };

/** A request to two acceptors, or a response to a dialer. What they answer has to be a message. */
function shakeHands(input: Buffer): Step {
  const message = codec.decode(input);
  if (message.type === 'handshakeResponse') {
    completeHandshake(message, acceptor, { certifiedNodeIds: ['n2'], expectedNodeId: 'n2' });
    return 'completed';
  }
  if (message.type !== 'handshakeRequest') return 'another message';
  const verdicts = [acceptor, demanding].map((config) =>
    acceptHandshake(message, config, {
      certifiedNodeIds: ['n1', 'n2'],
      nowMs: NOW_MS,
      replayGuard: new ReplayGuard(),
      sessionId: Buffer.alloc(16),
    }),
  );
  for (const { kind, response } of verdicts) {
    const { accepted, code } = codec.decode(codec.encode(response)) as typeof response;
    expect(accepted === (kind === 'accepted') && accepted === (code === undefined), 'no answer');
  }
  const [first] = verdicts;
  if (first?.kind === 'refused') throw first.error;
  return 'accepted';
}

const known = KNOWN_ID.toString('latin1');

function route(input: Buffer): Step {
  const found = routeDatagram(input, (connectionId) => connectionId === known);
  if (found.kind === 'drop') {
    const answer = answerTo(input, found.reason);
    expect((answer?.length ?? 0) < Math.max(1, input.length), 'an answer that is no shorter');
    return `drop, ${found.reason}${answer === undefined ? '' : ', with an answer'}`;
  }
  const bytes = Buffer.from(found.connectionId, 'latin1');
  expect(input.includes(bytes), 'a connection ID that is not there');
  if (found.kind === 'known') expect(found.connectionId === known, 'an unknown connection ID');
  else expect(input.length >= 1200 && bytes.length >= 8, 'an Initial that is too short');
  return found.kind === 'known' ? found.kind : knock(input);
}

/** What the endpoint says to a datagram that it drops. */
function answerTo(input: Buffer, reason: DropReason): Buffer | undefined {
  if (reason === 'unknownVersion') return answerVersion(input, input.subarray(0, 5));
  if (reason !== 'unknownConnection' || !mayBeReset(input)) return undefined;
  return resets.answer(input, Buffer.alloc(MAX_RESET_RANDOM_BYTES));
}

/** How far a client's first datagram comes. */
function knock(input: Buffer): Step {
  const header = readInitialHeader(input);
  if (header === undefined) return 'initial, cut off';
  const { destinationId, sourceId, token } = header;
  expect(input.includes(sourceId) && input.includes(token), 'bytes that are not there');
  const verdict = retryTokens.check(token, CLIENT, destinationId, 1);
  expect(verdict.kind !== 'valid', 'a token that nobody was given');
  const before = Buffer.from(input);
  const refused = new HalfOpenGuard(destinationId, false).refuses(input, true);
  expect(before.equals(input), 'a datagram that was changed');
  return `initial, ${verdict.kind} token, ${refused ?? 'let in'}`;
}

function later(raw: Promise<Uint8Array>, done: (result: Uint8Array) => string): Step {
  return raw.then(
    (result) => () => done(result),
    (error: unknown) => () => {
      throw error;
    },
  );
}

/** Length and checksum made right, or one of them, or none. */
function repairFrame(input: Buffer, random: Random): Buffer {
  if (random.oneIn(4)) return input;
  const sized = random.oneIn(4) ? input : withLength(input);
  return random.oneIn(4) ? sized : withChecksum(sized);
}

function withLength(frame: Buffer): Buffer {
  if (frame.length >= HEADER_BYTES) frame.writeUInt32BE(frame.length - HEADER_BYTES, 0);
  return frame;
}

/** The checksum of the first frame made right, if it is whole. */
function withChecksum(frame: Buffer): Buffer {
  if (frame.length < HEADER_BYTES + CHECKSUM_BYTES) return frame;
  const end = HEADER_BYTES + frame.readUInt32BE(0);
  if (end <= frame.length && end >= HEADER_BYTES + CHECKSUM_BYTES) {
    const covered = end - CHECKSUM_BYTES;
    frame.writeUInt32BE(crc32(frame.subarray(0, covered)), covered);
  }
  return frame;
}

/** The stated length made small: most random ones are over the limit, which ends the matter. */
function repairLength(input: Buffer, random: Random): Buffer {
  if (input.length >= 4 && input.readUInt32BE(0) > MAX_MESSAGE_BYTES && !random.oneIn(4)) {
    input.writeUInt32BE(random.below(random.oneIn(2) ? 2000 : MAX_MESSAGE_BYTES), 0);
  }
  return input;
}

/** Sound seeds make the deeper inputs: they come as often as the many that are refused. */
function often(seeds: readonly Buffer[]): Buffer[] {
  return [0, 1, 2, 3].flatMap(() => seeds);
}

/** Each frame with the next one behind it. */
function pairs(list: readonly Buffer[]): Buffer[] {
  return list.map((frame, at) => Buffer.concat([frame, list[(at + 1) % list.length] as Buffer]));
}

function expect(isRight: boolean, otherwise: string): void {
  if (!isRight) throw new Error(otherwise);
}
