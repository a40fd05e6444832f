/** Transfers as Node.js streams. Uploads need no adapter: a Readable is iterable, and so serves as a `body`. */
import { Duplex, Readable } from 'node:stream';
import { toMeshError } from '../../errors.js';
import { cancelledStream } from './adapter-errors.js';
import { ByteHandoff } from './byte-handoff.js';

/** No read-ahead: unread bytes stay in the transport, which slows down their sender. */
const READ_AHEAD_BYTES = 0;
const WRITE_AHEAD_BYTES = 64 * 1024;

/**
 * The bytes of a transfer, or of `context.body`, as a Readable. Bytes are read as fast as they are consumed. To destroy it
 * before its end cancels the transfer. It fails with the MeshError that a loop over `bytes` would throw.
 */
export function toNodeReadable(bytes: AsyncIterable<Uint8Array>): Readable {
  const reader = bytes[Symbol.asyncIterator]();
  return new Readable({
    highWaterMark: READ_AHEAD_BYTES,
    read() {
      pull(this, reader);
    },
    destroy(thrown, done) {
      letGo(reader, () => done(thrown));
    },
  });
}

/**
 * A transfer as a Duplex: what is written goes out, and what comes back is read. Ending it ends the bytes that go out,
 * destroying it cancels the transfer. When the peer's answer has ended, what is still written is dropped. It cannot be
 * resumed: what was written is gone.
 * @param open opens the transfer with the body that it is given: `(body) => peer.stream(transfer, { body })`
 */
export function toNodeDuplex(
  open: (body: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): Duplex {
  const body = new ByteHandoff();
  const reader = open(body)[Symbol.asyncIterator]();
  return new Duplex({
    readableHighWaterMark: READ_AHEAD_BYTES,
    writableHighWaterMark: WRITE_AHEAD_BYTES,
    read() {
      pull(this, reader);
    },
    write(chunk: Uint8Array, _encoding, done) {
      void body.write(chunk).then(() => done());
    },
    final(done) {
      body.end();
      done();
    },
    destroy(thrown, done) {
      body.end(cancelledStream(thrown));
      letGo(reader, () => done(thrown));
    },
  });
}

function pull(stream: Readable, reader: AsyncIterator<Uint8Array>): void {
  reader.next().then(
    ({ done, value }) => {
      if (!stream.destroyed) stream.push(done === true ? null : value);
    },
    (thrown: unknown) => stream.destroy(toMeshError(thrown)),
  );
}

/** Cancels what has not ended. */
function letGo(reader: AsyncIterator<Uint8Array>, done: () => void): void {
  if (reader.return === undefined) done();
  else reader.return().then(done, done);
}
