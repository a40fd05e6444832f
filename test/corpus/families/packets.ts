/** Frames of QUIC itself that a client may not send, or not so (RFC 9000, section 19): the binding's to find. */
import type { MeshErrorCode } from '../../../src/errors.js';
import {
  ackFrame,
  cryptoFrame,
  maxDataFrame,
  maxStreamDataFrame,
  newConnectionIdFrame,
  pathChallengeFrame,
  pathResponseFrame,
  pingFrame,
  retireConnectionIdFrame,
  streamFrame,
  varint,
} from '../../helpers/quic/frames.js';
import type { Case, Family } from '../case.js';

const ONE = Buffer.of(1);
const FAR = 2 ** 40;

function closed(name: string, code: MeshErrorCode, ...frames: readonly Buffer[]): Case {
  return {
    name,
    transports: ['quic'],
    begin: 'packets',
    steps: frames.map((bytes) => ({ do: 'send', to: 0, bytes })),
    outcome: { kind: 'closed', code },
    counter: 'handshakes.refused',
  };
}

function taken(name: string, ...frames: readonly Buffer[]): Case {
  return { ...closed(name, 'NoError', ...frames), outcome: { kind: 'dropped' }, counter: null };
}

const fields = (...numbers: readonly number[]) => Buffer.concat(numbers.map(varint));
const connectionId = (sequence: number, retirePriorTo: number, bytes = 16) =>
  newConnectionIdFrame({
    sequence,
    retirePriorTo,
    connectionId: Buffer.alloc(bytes, sequence),
    resetToken: Buffer.alloc(16, sequence),
  });

function* cases(): Generator<Case> {
  for (const type of [0x1f, 0x20, 0x21, 0x2f, 0x3f]) {
    yield closed(
      `a frame of type 0x${type.toString(16)}, which does not exist`,
      'ProtocolViolation',
      varint(type),
    );
  }
  yield closed('a STREAM frame that is cut off', 'ProtocolViolation', fields(0x0e, 0, 0, 100));
  yield closed('an ACK frame that is cut off', 'ProtocolViolation', fields(0x02, 5));
  yield closed("HANDSHAKE_DONE, which is a server's", 'ProtocolViolation', varint(0x1e));
  yield closed(
    'a stream beyond the stream limit',
    'StreamLimitExceeded',
    streamFrame(4 * 1024, 0, ONE),
  );
  yield closed(
    'a stream far beyond the stream limit',
    'StreamLimitExceeded',
    streamFrame(4 * FAR, 0, ONE),
  );
  yield closed('a second unidirectional stream', 'StreamLimitExceeded', streamFrame(6, 0, ONE));
  yield closed(
    'a byte beyond the window of its stream',
    'FlowControlViolation',
    streamFrame(0, 2 ** 24, ONE),
  );
  yield closed('a byte far beyond every window', 'FlowControlViolation', streamFrame(0, FAR, ONE));
  yield closed(
    "a stream of the server's that it did not open",
    'ProtocolViolation',
    streamFrame(1, 0, ONE),
  );
  yield closed(
    "bytes on the server's own control stream",
    'ProtocolViolation',
    streamFrame(3, 0, ONE),
  );
  yield closed(
    'a stream that goes on behind its final size',
    'ProtocolViolation',
    streamFrame(0, 0, ONE, true),
    streamFrame(0, 1, ONE),
  );
  yield closed(
    'a stream with two final sizes',
    'ProtocolViolation',
    streamFrame(4, 5, ONE, true),
    streamFrame(4, 1, ONE, true),
  );
  yield closed(
    'MAX_STREAM_DATA for a stream that nobody opened',
    'ProtocolViolation',
    maxStreamDataFrame(1, 1000),
  );
  yield closed(
    'MAX_STREAMS above 2^60',
    'ProtocolViolation',
    Buffer.concat([varint(0x12), Buffer.from('d000000000000001', 'hex')]),
  );
  yield closed(
    'RETIRE_CONNECTION_ID of one that was never issued',
    'ProtocolViolation',
    retireConnectionIdFrame(1000),
  );
  yield closed(
    'NEW_CONNECTION_ID that retires later ones',
    'ProtocolViolation',
    connectionId(1, 2),
  );

  // RFC 9000, sections 19.7 and 19.15, has a connection end over these; quiche 0.18.0 passes over them.
  yield taken("NEW_TOKEN, which is a server's", Buffer.concat([fields(0x07, 1), ONE]));
  yield taken('NEW_CONNECTION_ID of no bytes', connectionId(1, 0, 0));
  yield taken('NEW_CONNECTION_ID of 21 bytes', connectionId(1, 0, 21));

  yield taken('a PING', pingFrame());
  yield taken('MAX_DATA of 0', maxDataFrame(0));
  yield taken('a path challenge', pathChallengeFrame(Buffer.alloc(8)));
  yield taken('an answer to no path challenge', pathResponseFrame(Buffer.alloc(8)));
  yield taken('an acknowledgement of what was never sent', ackFrame([{ first: 5000, last: 5001 }]));
  yield taken('CRYPTO behind the handshake, far ahead', cryptoFrame(60_000, ONE));
  yield taken(
    'STREAM frames that overlap',
    streamFrame(0, 0, Buffer.of(0, 0)),
    streamFrame(0, 1, Buffer.of(0, 0)),
  );
}

export const packets: Family = { name: 'packets', cases: [...cases()] };
