/** What anybody on the path can write is no answer of the peer's, and ends no connection to a peer that has proved itself. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { isUnreached, type MeshError, toMeshError } from '../../../src/errors.js';
import type { Connection } from '../../../src/transport/connection.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../../helpers/certs.js';
import { quicPackets } from '../../helpers/chaos-proxy/quic-packets.js';
import { echoAcceptor, request } from '../../helpers/frame-client.js';
import { PathAttacker } from '../../helpers/path-attacker.js';
import {
  forgedInitial,
  forgedRetry,
  forgedVersions,
  idsOf,
  isInitial,
  type SeenDialer,
} from '../../helpers/quic/forged-answers.js';
import { connectionCloseFrame, cryptoFrame } from '../../helpers/quic/frames.js';

const ALERT = 0x100;

/** The answer to a dialer's first packet, and what the error says besides. */
const FORGED: Readonly<Record<string, readonly [(seen: SeenDialer) => Buffer, RegExp]>> = {
  ...Object.fromEntries(
    [
      [45, 'CertificateExpired'],
      [46, 'CertificateInvalid'],
      [48, 'CertificateUntrusted'],
      [116, 'CertificateRequired'],
      [120, 'ApplicationProtocolMismatch'],
      [40, 'TlsFailure'],
    ].map(([alert, code]) => [
      `alert ${alert}`,
      [
        (seen) => forgedInitial(seen, connectionCloseFrame(ALERT + Number(alert))),
        new RegExp(`not reached.*${code}`),
      ],
    ]),
  ),
  'a close for a violation': [
    (seen) => forgedInitial(seen, connectionCloseFrame(0x0a, 'you broke a rule')),
    /not reached.*you broke a rule.*ProtocolViolation/,
  ],
  'a refusal of the port': [(seen) => forgedInitial(seen, connectionCloseFrame(0x02)), /refused/],
  'a frame that no Initial may have': [
    (seen) => forgedInitial(seen, Buffer.from([0x1e])),
    /not reached.*ProtocolViolation/,
  ],
  'bytes that are not TLS': [
    (seen) => forgedInitial(seen, cryptoFrame(0, Buffer.from([2, 0, 0, 4, 9, 9, 9, 9]))),
    /not reached.*TLS/,
  ],
  'another version': [(seen) => forgedVersions(seen), /version 1/],
};

for (const [title, [forge, text]] of Object.entries(FORGED)) {
  test(`${title}, forged, is no answer of the peer's`, async (t) => {
    const { dial, attacker } = await stage(t);
    let isForged = false;
    attacker.tamper = (direction, datagram) => {
      if (direction === 'toServer' && isInitial(datagram) && !isForged) {
        isForged = true;
        attacker.inject(forge(idsOf(datagram)));
      }
      return [];
    };
    const error = toMeshError(await t.throwsAsync(dial()));
    t.like(error, { code: 'ConnectFailed', retryable: true });
    t.regex(error.message, text);
  });
}

test('a forged Retry reaches nobody', async (t) => {
  const { dial, attacker } = await stage(t, { connectTimeoutMs: 500 });
  let isForged = false;
  attacker.tamper = (direction, datagram) => {
    if (direction === 'toClient' || isForged) return [datagram];
    isForged = true;
    const seen = idsOf(datagram);
    attacker.inject(forgedRetry(seen, seen.originalId));
    return [];
  };
  t.true(isUnreached(toMeshError(await t.throwsAsync(dial())).code));
});

test('a close that rides on the end of the handshake is nobody’s', async (t) => {
  const { dial, attacker } = await stage(t);
  let seen: SeenDialer | undefined;
  let forged = 0;
  attacker.tamper = (direction, datagram) => {
    if (direction === 'toServer' && isInitial(datagram)) seen ??= idsOf(datagram);
    const last = quicPackets(datagram).findLast(({ type }) => type === 'handshake');
    if (direction === 'toServer' || seen === undefined || last === undefined) return [datagram];
    const { sourceId: serverId } = idsOf(datagram);
    const close = forgedInitial(seen, connectionCloseFrame(ALERT + 48), serverId);
    forged += 1;
    return [Buffer.concat([datagram.subarray(0, last.end), close])];
  };
  const error = toMeshError(await t.throwsAsync(dial()));
  t.true(forged > 0);
  t.like(error, { code: 'ConnectFailed', retryable: true });
  t.regex(error.message, /CertificateUntrusted/);
});

test('nothing that anybody can write ends a connection to a peer that has proved itself', async (t) => {
  const { dial, attacker } = await stage(t);
  let seen: SeenDialer | undefined;
  let serverId: Buffer | undefined;
  attacker.tamper = (direction, datagram) => {
    const isLong = (datagram[0] as number) >= 0x80;
    if (direction === 'toServer' && isInitial(datagram)) seen ??= idsOf(datagram);
    if (direction === 'toClient' && isLong) serverId ??= idsOf(datagram).sourceId;
    return [datagram];
  };
  const connection = await dial();
  if (seen === undefined || serverId === undefined) throw new Error('nothing was seen');
  const dialer = seen;
  const server = serverId;
  const forgeries = [
    forgedInitial(dialer, connectionCloseFrame(ALERT + 48), server),
    forgedInitial(dialer, Buffer.from([0x1e]), server),
    forgedInitial(dialer, cryptoFrame(0, randomBytes(40)), server),
    forgedRetry(dialer, server),
    forgedRetry(dialer, dialer.originalId),
    forgedVersions(dialer),
    forgedVersions({ ...dialer, originalId: server }),
  ];
  for (const forgery of forgeries) {
    attacker.inject(forgery);
    t.deepEqual(await request(connection, Buffer.of(7)), Buffer.of(7));
  }
  t.is(connection.state.kind, 'open');
});

async function stage(t: ExecutionContext, options: { connectTimeoutMs?: number } = {}) {
  const [tls1, tls2] = [await nodeCert('n1'), await nodeCert('n2')];
  const n1 = new QuicTransport({ cluster: 'test', tls: () => tls1, ...options });
  const n2 = new QuicTransport({ cluster: 'test', tls: () => tls2 });
  t.teardown(() => Promise.all([n1.close(), n2.close()]));
  const ends: Promise<MeshError>[] = [];
  const { address } = await n2.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: (connection: Connection) => {
      ends.push(connection.closed);
      echoAcceptor(connection);
    },
  });
  const attacker = await PathAttacker.start(t, address);
  return { attacker, dial: () => n1.dial({ ...attacker.address, nodeId: 'n2' }) };
}
