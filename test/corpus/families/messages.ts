/** Payloads: CBOR that is not to be taken, messages with wrong fields, and compressed payloads that lie. */
import {
  type FieldRow,
  headingOf,
  RAFT_KINDS,
  rowsUnder,
  TYPES,
} from '../../protocol/naive/message.js';
import { raftBodies, samples } from '../../protocol/samples.js';
import { readFrameVectors } from '../../protocol/vectors.js';
import { END, frameOf, movedTo, payloadOf, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome } from '../case.js';

const malformed: Outcome = { kind: 'refused', code: 'MalformedMessage' };

/** What a call has to say for the node to look at it as one. */
function call(name: string, payload: Uint8Array, outcome: Outcome = malformed): Case {
  return {
    name,
    steps: [{ do: 'send', to: 3, bytes: writeFrame(END, 3, payload), fin: true }],
    outcome,
  };
}

function* vectors(): Generator<Case> {
  for (const file of ['refused-payloads', 'refused-messages', 'refused-compression']) {
    for (const { name, hex, options, expect } of readFrameVectors(`${file}.json`).vectors) {
      if (options !== undefined || !('error' in expect)) continue;
      yield {
        name: `${file}: ${name}`,
        steps: [{ do: 'send', to: 3, bytes: movedTo(3, Buffer.from(hex, 'hex')), fin: true }],
        outcome: { kind: 'refused', code: expect.error },
      };
    }
  }
}

function* cuts(): Generator<Case> {
  const payload = payloadOf({ type: 'ping', token: Buffer.from('hello') });
  for (let at = 1; at < payload.length; at += 1) {
    yield call(
      `a message of ${payload.length} bytes that ends after ${at}`,
      payload.subarray(0, at),
    );
  }
  for (let byte = 0; byte < 256; byte += 37) {
    yield call(`a message and a byte ${byte} behind it`, Buffer.concat([payload, Buffer.of(byte)]));
  }
}

/** By the tables of SPEC.md: each field missing, null, of another kind, and beyond its limit. */
function* fields(): Generator<Case> {
  for (const type of TYPES) {
    const sample: Record<string, unknown> = { ...samples[type as keyof typeof samples] };
    for (const row of rowsUnder(`### ${type}`)) {
      yield* fieldCases(type, row, (value) => ({ ...sample, [row.name]: value }));
    }
  }
  for (const kind of RAFT_KINDS) {
    const body: Record<string, unknown> = { ...raftBodies[kind as keyof typeof raftBodies] };
    const [bodyRow] = rowsUnder('### consensus').filter(({ name }) => name === 'body');
    for (const row of rowsUnder(headingOf(bodyRow as FieldRow, kind))) {
      yield* fieldCases(`consensus ${kind}`, row, (value) => ({
        type: 'consensus',
        body: { ...body, [row.name]: value },
      }));
    }
  }
}

function* fieldCases(
  where: string,
  { name, kind, required, most }: FieldRow,
  withValue: (value: unknown) => unknown,
): Generator<Case> {
  if (required) yield call(`${where} without ${name}`, payloadOf(withValue(undefined)));
  if (kind === 'any') return;
  yield call(`${where} with null for ${name}`, payloadOf(withValue(null)));
  const other = kind === 'text' ? 1 : 'text';
  yield call(`${where} with ${typeof other} for ${name}`, payloadOf(withValue(other)));
  if (!Number.isSafeInteger(most) || most > 65_536) return;
  const long = kind === 'text' ? 'x'.repeat(most + 1) : Buffer.alloc(most + 1);
  if (kind === 'text' || kind === 'bytes') {
    yield call(`${where} with ${most + 1} bytes for ${name}`, payloadOf(withValue(long)));
  }
}

/** Sound messages that begin no call. */
function* outOfPlace(): Generator<Case> {
  for (const type of ['pong', 'queryResponse', 'response', 'error'] as const) {
    yield call(`a ${type} that begins a stream`, payloadOf(samples[type]), {
      kind: 'refused',
      code: 'UnexpectedMessage',
    });
  }
  for (const type of ['queryRequest', 'replicationLog', 'consensus', 'dataTransfer'] as const) {
    const { timeoutMs: _, ...sample } = samples[type];
    yield {
      ...call(`a ${type} that was not agreed on`, payloadOf(sample), {
        kind: 'refused',
        code: 'CapabilityMissing',
      }),
      profile: 'partial',
    };
  }
}

/** A payload of 17 MiB of zeros would pass every check but that of the size that was agreed. */
function* bombs(): Generator<Case> {
  const raw = Buffer.alloc(5);
  raw.writeUInt32BE(4097);
  for (const [name, flags] of [
    ['LZ4', 0x0191],
    ['Zstd', 0x01a1],
  ] as const) {
    yield {
      name: `${name} that becomes one byte more than was agreed`,
      capabilities: { maxMessageBytes: 4096 },
      steps: [{ do: 'send', to: 3, bytes: writeFrame(flags, 3, raw), fin: true }],
      outcome: { kind: 'refused', code: 'MessageTooLarge' },
    };
  }
}

const odd: readonly Case[] = [
  call('a ping with a field that nobody knows', payloadOf({ type: 'ping', colour: 'blue' }), {
    kind: 'served',
  }),
  call(
    'a method that is no valid key of anything',
    payloadOf({ type: 'request', method: '__proto__' }),
    {
      kind: 'served',
    },
  ),
  call(
    'a body with __proto__ for a key',
    payloadOf({
      type: 'request',
      method: 'echo',
      body: JSON.parse('{"__proto__":{"isAdmin":true}}'),
    }),
    { kind: 'served' },
  ),
  {
    name: 'a call that is refused does no harm to the next',
    steps: [
      { do: 'send', to: 3, bytes: writeFrame(END, 3, Buffer.of(0xff)), fin: true },
      { do: 'send', to: 5, bytes: frameOf(5, { type: 'ping' }), fin: true },
    ],
    outcome: { kind: 'served', on: 5 },
  },
];

export const messages: Family = {
  name: 'messages',
  cases: [...vectors(), ...cuts(), ...fields(), ...outOfPlace(), ...bombs(), ...odd],
};
