/** A client of another version learns which one is spoken here, and nothing can be made of that but a short answer. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { RateLimit } from '../../../../src/base/rate-limit.js';
import { answerVersion } from '../../../../src/transport/quic/admission/version-negotiation.js';
import { QuicTransport } from '../../../../src/transport/quic/transport.js';
import { nodeCert } from '../../../helpers/certs.js';
import { strangerAt } from '../../../helpers/quic/forger.js';
import { until } from '../../../helpers/until.js';

const VERSION_2 = 0x6b33_43cf;

test('the answer has both connection IDs, of any length, and version 1', (t) => {
  for (const [destinationBytes, sourceBytes] of [
    [8, 0],
    [16, 16],
    [0, 20],
    [255, 255],
  ] as const) {
    const [destination, source] = [randomBytes(destinationBytes), randomBytes(sourceBytes)];
    const asked = longHeader(VERSION_2, destination, source);
    const answer = answerVersion(asked, randomBytes(5));
    const read = readVersions(answer as Buffer);
    t.deepEqual([read.destination, read.source], [source, destination]);
    t.is(read.versions[0], 1);
    t.true((answer as Buffer).length < asked.length);
  }
});

test('besides version 1 it names one that does not exist, never the one that was asked for', (t) => {
  const seen = new Set<number>();
  for (let i = 0; i < 200; i += 1) {
    const random = randomBytes(5);
    const [, unused = 0, ...none] = versionsFor(VERSION_2, random);
    t.deepEqual(none, []);
    t.is((unused & 0x0f0f_0f0f) >>> 0, 0x0a0a_0a0a);
    t.false(versionsFor(unused, random).includes(unused));
    seen.add(unused);
  }
  t.true(seen.size > 100);
});

test('version negotiation is not answered, nor is what is shorter than a first datagram', (t) => {
  const random = randomBytes(5);
  t.is(answerVersion(longHeader(0, randomBytes(8), randomBytes(8)), random), undefined);
  const short = longHeader(VERSION_2, randomBytes(8), randomBytes(8)).subarray(0, 1199);
  t.is(answerVersion(short, random), undefined);
});

test('a rate is kept over any time, and at once no more than that', (t) => {
  const limit = new RateLimit(10, 15);
  const taken = (nowMs: number) => Array.from({ length: 30 }, () => limit.take(nowMs));
  const count = (nowMs: number) => taken(nowMs).filter(Boolean).length;
  t.is(count(5000), 15);
  t.is(count(5000), 0);
  t.is(count(5250), 2);
  t.is(count(5300), 1);
  t.is(count(60_000), 15);
});

test('on the wire: answered once, to whoever listens for it, and at a bounded rate', async (t) => {
  const tls = await nodeCert('n1');
  const transport = new QuicTransport({
    cluster: 'test',
    tls: () => tls,
    admission: { silent: 'off' },
  });
  t.teardown(() => transport.close());
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const [destination, source] = [randomBytes(30), randomBytes(25)];
  await stranger.send(longHeader(VERSION_2, destination, source), address);
  await until(() => stranger.received.length === 1);
  const answer = readVersions(stranger.received[0] as Buffer);
  t.deepEqual([answer.destination, answer.source], [source, destination]);

  // Its own answer, sent back to it, leads to nothing.
  await stranger.send(Buffer.concat([stranger.received[0] as Buffer], 1200), address);
  for (let i = 0; i < 500; i += 1) {
    await stranger.send(longHeader(VERSION_2, destination, source), address);
  }
  const { counters } = transport;
  await until(() => counters.droppedUnknownVersion === 502);
  t.true(counters.versionNegotiationsSent! >= 100 && counters.versionNegotiationsSent! < 500);
  await until(() => stranger.received.length === counters.versionNegotiationsSent);
  t.is(counters.datagramsSent, counters.versionNegotiationsSent);
});

test('a dialer does not let a forged answer talk it out of version 1', async (t) => {
  const tls = await nodeCert('n1');
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => transport.close());
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const dial = transport.dial(stranger.address, { connectTimeoutMs: 1500 });
  dial.catch(() => {});
  await until(() => stranger.received.length > 0);
  const first = stranger.received[0] as Buffer;
  const to = { host: '127.0.0.1', port: stranger.lastPort as number };
  // It lists the version that was chosen: a client has to ignore that (RFC 9000, section 6.2).
  await stranger.send(answerVersion(withVersion(first, VERSION_2), randomBytes(5)) as Buffer, to);
  await until(() => stranger.received.length > 1);
  t.is((stranger.received[1] as Buffer).readUInt32BE(1), 1);
  t.like(await t.throwsAsync(dial), { code: 'ConnectTimeout' });
});

test('a peer that speaks other versions only is not to be had over QUIC', async (t) => {
  const tls = await nodeCert('n1');
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => transport.close());
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const dial = transport.dial(stranger.address);
  dial.catch(() => {});
  await until(() => stranger.received.length > 0);
  const answer = answerVersion(withVersion(stranger.received[0] as Buffer, 2), randomBytes(5));
  answer?.writeUInt32BE(VERSION_2, answer.length - 8);
  const to = { host: '127.0.0.1', port: stranger.lastPort as number };
  await stranger.send(answer as Buffer, to);
  // Anybody can say so: it is no reason to give up QUIC.
  t.like(await t.throwsAsync(dial), { code: 'ConnectFailed', retryable: true });
});

function longHeader(version: number, destination: Buffer, source: Buffer): Buffer {
  const bytes = Buffer.concat([
    Buffer.of(0xc0, 0, 0, 0, 0, destination.length),
    destination,
    Buffer.of(source.length),
    source,
    randomBytes(1200),
  ]);
  bytes.writeUInt32BE(version, 1);
  return bytes;
}

function withVersion(packet: Buffer, version: number): Buffer {
  const copy = Buffer.from(packet);
  copy.writeUInt32BE(version, 1);
  return copy;
}

function versionsFor(version: number, random: Buffer): number[] {
  const asked = longHeader(version, randomBytes(8), randomBytes(8));
  return readVersions(answerVersion(asked, random) as Buffer).versions;
}

/** Reads a Version Negotiation packet (RFC 8999, section 6). */
function readVersions(packet: Buffer): {
  destination: Buffer;
  source: Buffer;
  versions: number[];
} {
  if (((packet[0] as number) & 0xc0) !== 0xc0 || packet.readUInt32BE(1) !== 0) {
    throw new Error('not a Version Negotiation packet');
  }
  const sourceAt = 6 + (packet[5] as number);
  const versionsAt = sourceAt + 1 + (packet[sourceAt] as number);
  const versions: number[] = [];
  for (let at = versionsAt; at < packet.length; at += 4) versions.push(packet.readUInt32BE(at));
  return {
    destination: packet.subarray(6, sourceAt),
    source: packet.subarray(sourceAt + 1, versionsAt),
    versions,
  };
}
