/**
 * A process that feeds the binding's server random sequences of NEW_CONNECTION_ID and acknowledgements, over one path or
 * several, and tells when it is through. Where the binding loops, it never tells. Started by `one-path.test.ts`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../../scripts/fuzz/random.js';
import { DEFAULT_STREAM_LIMITS, type TlsMaterial } from '../../../src/transport/connection.js';
import { createNativeConfig } from '../../../src/transport/quic/binding/config.js';
import { loadNative, type NativeConnection } from '../../../src/transport/quic/binding/native.js';
import { ackFrame, newConnectionIdFrame, pingFrame } from './frames.js';
import { type PacketKeys, packetKeys } from './packet-keys.js';
import { shortPacket } from './packets.js';

export interface RetireFuzz {
  readonly client: TlsMaterial;
  readonly server: TlsMaterial;
  readonly seed: number;
  readonly connections: number;
  /** Ports of the client's; more than one makes more than one path. */
  readonly ports: number;
}

export interface RetireFuzzResult {
  /** Connections that the binding closed over what it was fed. */
  readonly closed: number;
}

const CLIENT = { host: '127.0.0.1', port: 1000 };
const SERVER = { host: '127.0.0.1', port: 2000 };
const IDS = Array.from({ length: 10 }, () => randomBytes(16));
const RESET_TOKEN = randomBytes(16);
const PACKETS = 12;
const room = Buffer.alloc(65_535);

process.on('disconnect', () => process.exit());
process.on('message', (fuzz: RetireFuzz) => {
  void run(fuzz).then((result) => process.send?.(result));
});

async function run(fuzz: RetireFuzz): Promise<RetireFuzzResult> {
  const random = new Random(fuzz.seed);
  const directory = mkdtempSync(join(tmpdir(), 'quicmesh-retire-'));
  let closed = 0;
  try {
    const connect = await connector(fuzz, join(directory, 'keys.log'));
    for (let i = 0; i < fuzz.connections; i += 1) {
      const { server, destinationId, keys } = connect();
      try {
        for (let number = 1000; number < 1000 + PACKETS; number += 1) {
          const packet = shortPacket(destinationId, number, randomFrames(random), keys);
          const from = { ...CLIENT, port: CLIENT.port + random.below(fuzz.ports) };
          server.recv(packet, { from, to: SERVER });
          if (random.below(3) > 0) flush(server, () => {});
        }
      } catch {
        closed += 1;
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return { closed };
}

function randomFrames(random: Random): Buffer {
  const frames = [pingFrame()];
  for (let left = 1 + random.below(4); left > 0; left -= 1) {
    const sequence = random.below(IDS.length);
    const first = random.below(40);
    frames.push(
      random.below(5) === 0
        ? ackFrame([{ first, last: first + random.below(20) }])
        : newConnectionIdFrame({
            sequence,
            retirePriorTo: random.below(2) * random.below(sequence + 1),
            connectionId: IDS[sequence] as Buffer,
            resetToken: RESET_TOKEN,
          }),
    );
  }
  return Buffer.concat(frames);
}

/** Makes connections that are established at both ends, without sockets. */
async function connector({ client, server }: RetireFuzz, keyLog: string) {
  const native = await loadNative();
  const tuning = {
    limits: DEFAULT_STREAM_LIMITS,
    idleTimeoutMs: 60_000,
    maxDatagramBytes: 1350,
  };
  const [dialing, accepting] = [client, server].map((tls) =>
    createNativeConfig(native, tls, tuning),
  ) as [ReturnType<typeof createNativeConfig>, ReturnType<typeof createNativeConfig>];
  dialing.logKeys();
  return (): { server: NativeConnection; destinationId: Buffer; keys: PacketKeys } => {
    const dialer = native.Connection.connect(null, randomBytes(16), CLIENT, SERVER, dialing);
    dialer.setKeylog(keyLog);
    const acceptor = native.Connection.accept(randomBytes(16), null, SERVER, CLIENT, accepting);
    while (!dialer.isEstablished() || !acceptor.isEstablished()) {
      flush(dialer, (datagram) => acceptor.recv(datagram, { from: CLIENT, to: SERVER }));
      flush(acceptor, (datagram) => dialer.recv(datagram, { from: SERVER, to: CLIENT }));
    }
    const [, secret = ''] =
      /^CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)$/m.exec(readFileSync(keyLog, 'utf8')) ?? [];
    const bytes = Buffer.from(secret, 'hex');
    const keys = packetKeys(bytes, bytes.length === 48 ? 'aes-256-gcm' : 'aes-128-gcm');
    return { server: acceptor, destinationId: Buffer.from(dialer.destinationId()), keys };
  };
}

function flush(connection: NativeConnection, deliver: (datagram: Buffer) => void): void {
  for (let sent = connection.send(room); sent !== null; sent = connection.send(room)) {
    deliver(Buffer.from(room.subarray(0, sent[0])));
  }
}
