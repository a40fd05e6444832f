/** What comes before any connection: datagrams on the UDP port, bytes without TLS on the TCP port. */
import { createHash } from 'node:crypto';
import { ResetTokens } from '../../../src/transport/quic/admission/stateless-reset.js';
import { nodeCert } from '../../helpers/certs.js';
import { createForger, readRetry } from '../../helpers/quic/forger.js';
import { recordHello } from '../../helpers/record-hello.js';
import type { Case, Family, Outcome, Step } from '../case.js';
import { UdpStranger } from '../clients/stranger.js';
import { until } from '../wait.js';

const forger = await createForger(await nodeCert('n4'));
/** A client's first datagram, with nothing wrong about it. */
const FLIGHT = forger.initial();
/** ClientHellos without a knock. OpenSSL spends a hundred times as long on the second as on the first. */
const HELLOS = {
  X25519: await recordHello({ ecdhCurve: 'X25519', ALPNProtocols: ['quicmesh/1'] }),
  ffdhe8192: await recordHello({ ecdhCurve: 'ffdhe8192', ALPNProtocols: ['quicmesh/1'] }),
};
/** Its header: first byte, version, two IDs of 16 bytes, no token, length, packet number. */
const HEADER_BYTES = 46;

const dropped: Outcome = { kind: 'dropped' };
const anyDrop = 'transports.quic.dropped*';

function datagram(
  name: string,
  bytes: Uint8Array,
  outcome: Outcome = dropped,
  counter = anyDrop,
): Case {
  return {
    name,
    transports: ['quic'],
    profile: 'open',
    begin: 'stray',
    steps: [{ do: 'send', to: 0, bytes }],
    outcome,
    counter,
  };
}

/** Bytes that look like nothing, the same in every run. */
function noise(seed: string, bytes: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) =>
    createHash('sha256').update(`${seed} ${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
}

function withHead(head: string, bytes: number): Buffer {
  const out = noise(head, Math.max(bytes, head.length / 2));
  out.write(head, 'hex');
  return out.subarray(0, bytes);
}

function* garbage(): Generator<Case> {
  yield datagram('an empty datagram', Buffer.alloc(0));
  const sizes = [1, 2, 3, 5, 6, 7, 8, 15, 16, 17, 18, 19, 20, 21];
  for (const bytes of sizes) yield datagram(`${bytes} bytes of zeros`, Buffer.alloc(bytes));
  for (const bytes of [...sizes, 22, 100, 1199, 1200, 1500, 9000, 65_507]) {
    // A version that nobody speaks, and IDs as long as only other versions have them.
    yield datagram(
      `${bytes} bytes of ones`,
      Buffer.alloc(bytes, 0xff),
      bytes < 1200 ? dropped : { kind: 'answered', by: 'versionNegotiation' },
    );
    // A short header, with a connection ID that nobody has.
    yield datagram(`${bytes} bytes with a short header`, withHead('41', bytes));
    // Version 1, an Initial, IDs of 8 bytes.
    yield datagram(
      `${bytes} bytes of an Initial that opens with no key`,
      withHead('c30000000108', bytes),
    );
  }
  yield datagram('an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n'));
}

function* versions(): Generator<Case> {
  for (const version of ['6b3343cf', 'ff00001d', 'ffffffff', '0a0a0a0a', '00000002', '51303530']) {
    for (const bytes of [100, 1199, 1200, 1500]) {
      const head = `c0${version}08${'aa'.repeat(8)}08${'bb'.repeat(8)}`;
      yield datagram(
        `${bytes} bytes of version ${version}`,
        withHead(head, bytes),
        bytes < 1200 ? dropped : { kind: 'answered', by: 'versionNegotiation' },
      );
    }
  }
  yield datagram(
    'version negotiation, which is never answered',
    withHead(`c00000000008${'aa'.repeat(8)}08${'bb'.repeat(8)}`, 1200),
  );
}

function* headers(): Generator<Case> {
  for (const idBytes of [0, 1, 7, 21, 255]) {
    const head = `c300000001${idBytes.toString(16).padStart(2, '0')}`;
    yield datagram(`an Initial to an ID of ${idBytes} bytes`, withHead(head, 1200));
  }
  for (const [name, first] of [
    ['0-RTT', 'd3'],
    ['Handshake', 'e3'],
    ['Retry', 'f3'],
  ] as const) {
    yield datagram(
      `a ${name} packet of no connection`,
      withHead(`${first}0000000108${'cc'.repeat(8)}`, 1200),
    );
  }
  for (const frame of ['08', '18', '1d', '31']) {
    yield datagram(
      `an Initial whose payload begins with 0x${frame}, which belongs elsewhere`,
      forger.initial({ payload: Buffer.from(frame, 'hex') }),
    );
  }
}

function* cuts(): Generator<Case> {
  for (let at = 1; at < HEADER_BYTES; at += 1) {
    yield datagram(`a first flight cut after ${at} bytes`, FLIGHT.subarray(0, at));
  }
  for (let at = 50; at < FLIGHT.length; at += 50) {
    yield datagram(`a first flight cut after ${at} bytes`, FLIGHT.subarray(0, at));
  }
  yield datagram('a first flight that lacks its last byte', FLIGHT.subarray(0, -1));
  const long = forger.initial({ padTo: 1350 });
  for (const at of [1200, 1250, 1300, 1349]) {
    yield datagram(`a first flight of 1,350 bytes cut after ${at}`, long.subarray(0, at));
  }
}

function outcomeOfFlip(byte: number, bit: number): Outcome {
  const isVersion = byte >= 1 && byte <= 4;
  // Version 0 is that of version negotiation.
  if (isVersion && !(byte === 4 && bit === 0))
    return { kind: 'answered', by: 'versionNegotiation' };
  return dropped;
}

function* flips(): Generator<Case> {
  const flip = (byte: number, bit: number): Case => {
    const bytes = Buffer.from(FLIGHT);
    bytes.writeUInt8(bytes.readUInt8(byte) ^ (1 << bit), byte);
    const name = `a first flight with bit ${bit} of byte ${byte} flipped`;
    return datagram(name, bytes, outcomeOfFlip(byte, bit));
  };
  for (let byte = 0; byte < HEADER_BYTES; byte += 1) {
    for (let bit = 0; bit < 8; bit += 1) yield flip(byte, bit);
  }
  for (let byte = HEADER_BYTES; byte < FLIGHT.length; byte += 29) yield flip(byte, byte % 8);
}

/** A connection from before a restart, of which the node knows nothing but that its ID is one of its own. */
function* restarted(): Generator<Case> {
  for (const profile of ['open', 'plain'] as const) {
    yield {
      name: `a packet of a connection from before a restart, at a node that is ${profile}`,
      transports: ['quic'],
      profile,
      begin: 'stray',
      steps: [
        {
          do: 'run',
          program: async ({ client, subject }) => {
            const ids = new ResetTokens((await nodeCert('n2')).key, subject.address);
            const bytes = [Buffer.of(0x41), ids.newConnectionId(16), noise('restarted', 60)];
            client.send(0, Buffer.concat(bytes));
          },
        },
      ],
      outcome: { kind: 'answered', by: 'statelessReset' },
      counter: 'transports.quic.statelessResetsSent',
    };
  }
}

function* tokens(): Generator<Case> {
  const retry: Outcome = { kind: 'answered', by: 'retry' };
  const counter = 'transports.quic.retriesSent';
  const withToken = (name: string, token: Buffer, outcome: Outcome, count: string): Case => ({
    ...datagram(name, forger.initial({ token }), outcome, count),
    profile: 'retry',
  });
  yield {
    ...datagram('a first flight where a token is due', FLIGHT, retry, counter),
    profile: 'retry',
  };
  for (const bytes of [1, 8, 9, 25, 41, 45, 100, 700]) {
    yield withToken(
      `a token of ${bytes} bytes that was made up`,
      noise('token', bytes),
      retry,
      counter,
    );
  }
  yield tokenCase('of another connection ID', (token) => forger.initial({ token }));
  yield tokenCase('with a wrong last byte', (token, destinationId) => {
    token.writeUInt8(token.readUInt8(token.length - 1) ^ 1, token.length - 1);
    return forger.initial({ token, originalId: destinationId });
  });
  yield tokenCase(
    'from another address',
    (token, originalId) => forger.initial({ token, originalId }),
    '127.0.0.3',
  );
}

/** A token that the node has made, used where it is not good. */
function tokenCase(
  name: string,
  use: (token: Buffer, destinationId: Buffer) => Buffer,
  from?: string,
): Case {
  const program = async ({
    client,
    subject,
  }: Parameters<Extract<Step, { do: 'run' }>['program']>[0]) => {
    const asking = client as UdpStranger;
    asking.send(0, forger.initial());
    await until(() => asking.received.length > 0);
    const retry = readRetry(asking.received.pop() as Buffer);
    if (retry === undefined) throw new Error('no Retry has come');
    const bytes = use(Buffer.from(retry.token), Buffer.from(retry.sourceId));
    if (from === undefined) {
      asking.send(0, bytes);
      return undefined;
    }
    const before = subject.count('transports.quic.droppedInvalidToken');
    const other = await UdpStranger.at(from, subject.address);
    other.send(0, bytes);
    // From there nothing may come either.
    await until(() => subject.count('transports.quic.droppedInvalidToken') > before);
    if (other.received.length > 0) throw new Error('the node has answered');
    other.hangUp();
    return undefined;
  };
  return {
    name: `a token ${name}`,
    transports: ['quic'],
    profile: 'retry',
    begin: 'stray',
    steps: [{ do: 'run', program }],
    outcome: dropped,
    counter: 'transports.quic.droppedInvalidToken',
  };
}

/** A flight from an address that hears nothing costs the node three times its bytes at most. */
function* spoofed(): Generator<Case> {
  for (const copies of [1, 2]) {
    const flights = Array.from({ length: copies }, () => forger.initial());
    yield {
      name: `${copies} first flights of an address that never answers`,
      transports: ['quic'],
      profile: 'narrowAdmission',
      begin: 'stray',
      steps: [
        {
          do: 'run',
          program: async ({ subject }) => {
            const before = subject.count('transports.quic.refused');
            const silent = await UdpStranger.at('127.0.0.9', subject.address);
            for (const flight of flights) silent.send(0, flight);
            await until(() => subject.count('transports.quic.refused') === before + copies);
            const received = silent.received.reduce((sum, { length }) => sum + length, 0);
            silent.hangUp();
            if (received > 3 * 1200 * copies)
              throw new Error(`the node has sent ${received} bytes`);
          },
        },
      ],
      outcome: dropped,
      counter: 'transports.quic.refused',
    };
  }
}

/** What a silent node answers everybody else, it answers no stranger, whatever that says. */
function* silence(): Generator<Case> {
  const loud = [...garbage(), ...versions(), ...headers(), ...tokens()].filter(
    ({ steps }) => steps[0]?.do === 'send',
  );
  const whole = datagram('a first flight with nothing wrong about it', FLIGHT);
  for (const { name, ...hostile } of [whole, ...loud]) {
    const title = `${name}, at a silent node`;
    yield { ...hostile, name: title, profile: 'plain', outcome: dropped, counter: anyDrop };
  }
}

function* withoutTls(): Generator<Case> {
  const hello = Buffer.from('16030100c8010000c40303', 'hex');
  for (const [name, bytes] of [
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['zeros', Buffer.alloc(100)],
    ['ones', Buffer.alloc(100, 0xff)],
    ['an alert', Buffer.from('15030300020228', 'hex')],
    ['application data', Buffer.from('1703030005aaaaaaaaaa', 'hex')],
    ['a record of 65,535 bytes', Buffer.from('160301ffff', 'hex')],
    ['a ClientHello of SSL 2', Buffer.from('802e0103010015000000', 'hex')],
    ['noise', noise('tls', 1000)],
  ] as const) {
    for (const [profile, counter, to] of [
      ['plain', 'transports.tcp.droppedWithoutKnock', 'a silent node'],
      ['open', 'transports.tcp.tlsErrors', 'one that answers strangers'],
    ] as const) {
      yield {
        name: `${name} where TLS is due, to ${to}`,
        transports: ['tcp'],
        profile,
        begin: 'stray',
        steps: [{ do: 'send', to: 0, bytes }],
        outcome: dropped,
        counter,
      };
    }
  }
  for (const [title, ecdhCurve, counter] of [
    ['of a stranger', 'X25519', 'droppedWithoutKnock'],
    ['of a stranger who wants a costly group', 'ffdhe8192', 'droppedWithoutKnock'],
    ['that wants a costly group, where strangers are answered,', 'ffdhe8192', 'tlsErrors'],
  ] as const) {
    yield {
      name: `a ClientHello ${title} gets nothing done`,
      transports: ['tcp'],
      profile: counter === 'tlsErrors' ? 'open' : 'plain',
      begin: 'stray',
      steps: [{ do: 'send', to: 0, bytes: HELLOS[ecdhCurve] }, { do: 'await end' }],
      outcome: dropped,
      counter: `transports.tcp.${counter}`,
    };
  }
  for (const bytes of [0, 1, 5, 11]) {
    yield {
      name: `${bytes} bytes of a ClientHello, and silence`,
      transports: ['tcp'],
      profile: 'hasty',
      begin: 'stray',
      steps: [{ do: 'send', to: 0, bytes: hello.subarray(0, bytes) }, { do: 'await end' }],
      outcome: dropped,
      counter: 'transports.tcp.handshakeTimeouts',
    };
  }
}

export const strangers: Family = {
  name: 'strangers',
  cases: [
    ...garbage(),
    ...versions(),
    ...headers(),
    ...cuts(),
    ...flips(),
    ...restarted(),
    ...tokens(),
    ...spoofed(),
    ...silence(),
    ...withoutTls(),
  ],
};
