/** Runs one case against a live node, and looks at the node from all sides afterwards. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MeshError, MeshErrorCode } from '../../src/errors.js';
import type { Message } from '../../src/protocol/message.js';
import { nodeCert } from '../helpers/certs.js';
import type { TestTransport } from '../helpers/nodes.js';
import type { Case, DialOptions, Outcome, Scene, Step } from './case.js';
import type { HostileClient } from './clients/client.js';
import { PacketClient } from './clients/packet-client.js';
import { QuicClient } from './clients/quic-client.js';
import { TcpStranger, UdpStranger } from './clients/stranger.js';
import { TcpClient } from './clients/tcp-client.js';
import { HOSTILE_ID, type Subject } from './subject.js';
import { until } from './wait.js';

/** The message id of the call that the node makes of the hostile peer. */
const NODES_CALL = 2;

/** The message id of the first call after the handshake. */
export const FIRST_CALL = 3;

/** Of a patient peer, which is allowed more streams in between. */
const MAX_DIALS = 20;
const PATIENCE_MS = 200;

/**
 * Runs the case: what is promised is checked, then that the node lives, serves, has counted, and keeps nothing.
 * @throws Error what is not as the case says
 */
export async function runCase(
  subject: Subject,
  hostile: Case,
  transport: TestTransport,
): Promise<void> {
  const counter = counterOf(hostile, transport);
  const before = counter === undefined ? 0 : subject.count(counter);
  const seen = subject.events.length;
  const clients: HostileClient[] = [];
  const dial = async (options: DialOptions = hostile) => {
    const client = await dialAs(subject, transport, options);
    clients.push(client);
    return client;
  };
  let owed: Promise<MeshErrorCode> | undefined;
  try {
    let client = await dial();
    if (hostile.begin === undefined || hostile.begin === 'shaken') {
      owed = callOf(subject);
      await until(() => client.answers.has(NODES_CALL));
    }
    for (const step of hostile.steps) {
      client = (await take(step, { subject, transport, client, dial })) ?? client;
    }
    await check(hostile.outcome, client, subject, seen);
    await subject.serves();
  } finally {
    for (const client of clients) client.hangUp();
  }
  // Calls of both sides are over with the connection.
  const failure = await owed;
  if (hostile.answer !== undefined) expectSame(failure, hostile.answer, "the node's call fails");
  await subject.isRid();
  // Some are added up when a connection is over.
  if (counter !== undefined) {
    await until(() => subject.count(counter) > before).catch(() => {
      throw new Error(`${counter} did not go up`);
    });
  }
  await subject.serves();
}

async function dialAs(
  subject: Subject,
  transport: TestTransport,
  given: DialOptions,
): Promise<HostileClient> {
  const { tls, tlsChanges, begin = 'shaken', capabilities, isPatient = false } = given;
  if (begin === 'stray') {
    return transport === 'quic'
      ? UdpStranger.at('127.0.0.1', subject.address)
      : TcpStranger.dial(subject.address);
  }
  const options = {
    target: subject.address,
    tls: await (tls?.() ?? nodeCert(HOSTILE_ID)),
    changes: tlsChanges,
  };
  if (begin === 'packets') return PacketClient.dial(options);
  for (let attempt = 1; ; attempt += 1) {
    const client = await (transport === 'quic'
      ? QuicClient.dial(options)
      : TcpClient.dial(options));
    if (begin !== 'shaken') return client;
    client.shake(HOSTILE_ID, {}, capabilities);
    await until(() => client.answers.has(1) || client.isOver);
    const answer = client.answers.get(1)?.[0];
    if (answer?.type === 'handshakeResponse' && answer.accepted) return client;
    client.hangUp();
    if (!isPatient || answer !== undefined || attempt === MAX_DIALS) {
      throw new Error(`the hostile peer was not let in: ${JSON.stringify(answer)}`);
    }
    await sleep(PATIENCE_MS);
  }
}

/** The node asks the hostile peer, which never answers: that has to settle too. @returns how it fails */
function callOf(subject: Subject): Promise<MeshErrorCode> {
  const call = subject.node.peer(HOSTILE_ID)?.request({ type: 'request', method: 'ask' });
  if (call === undefined) throw new Error('the node does not know the hostile peer');
  return call.then(
    () => {
      throw new Error('the hostile peer has answered');
    },
    (error: MeshError) => error.code,
  );
}

async function take(step: Step, scene: Scene): Promise<HostileClient | void> {
  const { client, subject } = scene;
  switch (step.do) {
    case 'send':
      if (step.byteByByte) await sendByteByByte(client, step);
      else client.send(step.to, step.bytes, step.fin);
      return;
    case 'shake':
      client.shake(HOSTILE_ID, step.changes);
      return;
    case 'pause':
      await subject.serves();
      if (client.isOver) throw new Error(`the node has ended the connection: ${client.ending}`);
      return;
    case 'hear':
      await until(() => client.answers.has(step.on) || client.isOver);
      return;
    case 'shut':
      client.shut(step.on, step.side, step.code);
      return;
    case 'await end':
      await until(() => client.isOver);
      return;
    case 'hangUp':
      client.hangUp();
      return;
    case 'run':
      return step.program(scene);
  }
}

async function sendByteByByte(
  client: HostileClient,
  { to, bytes, fin = false, everyMs }: Extract<Step, { do: 'send' }>,
): Promise<void> {
  for (let i = 0; i < bytes.length && !client.isOver; i += 1) {
    client.send(to, bytes.subarray(i, i + 1), fin && i === bytes.length - 1);
    if (everyMs === undefined) await new Promise((resolve) => setImmediate(resolve));
    else await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

async function check(
  outcome: Outcome,
  client: HostileClient,
  subject: Subject,
  seen: number,
): Promise<void> {
  switch (outcome.kind) {
    case 'closed': {
      await until(() => client.isOver).catch(() => {
        throw new Error(`the connection is open still, and ${said(client)}`);
      });
      expectSame(client.ending, outcome.code, 'the peer is told');
      const ends = () =>
        subject.events.slice(seen).flatMap((event) => ('error' in event ? [event.error] : []));
      await until(() =>
        ends().some(({ code, side }) => code === outcome.code && side === 'local'),
      ).catch(() => {
        const found = ends().map(({ code, side }) => `${side} ${code}`);
        throw new Error(`the node says ${found.join(', ')}, not local ${outcome.code}`);
      });
      return;
    }
    case 'refused': {
      expectSame(
        await refusalOn(client, outcome.on ?? FIRST_CALL),
        outcome.code,
        'the call is refused',
      );
      await client.ping();
      return;
    }
    case 'refusedOne': {
      const refused = () => outcome.of.filter((id) => client.answers.has(id));
      await until(() => refused().length > 0 || client.isOver);
      expectSame(refused().length, 1, 'calls that are refused');
      expectSame(await refusalOn(client, refused()[0] as number), outcome.code, 'the refusal');
      await client.ping();
      return;
    }
    case 'served': {
      const answer = await answerOn(client, outcome.on ?? FIRST_CALL);
      if (answer.type === 'error') throw new Error(`refused: ${answer.code}, ${answer.text}`);
      if (!client.isOver && answer.type !== 'handshakeResponse') await client.ping();
      return;
    }
    case 'dropped': {
      const answers = client.ownAnswers;
      await subject.serves();
      // A socket without TLS is let go without a word.
      if (client.isOver && !client.hasHungUp && !(client instanceof TcpStranger)) {
        throw new Error(`the node has closed: ${client.ending}`);
      }
      // Who has hung up can ask nothing more.
      if (!client.isOver) await client.ping();
      expectSame(client.ownAnswers, answers, 'nothing happens');
      if (client instanceof UdpStranger) expectSame(client.answeredBy.join(), '', 'the answer');
      return;
    }
    case 'answered': {
      const stranger = client as UdpStranger;
      await until(() => stranger.received.length > 0);
      await subject.serves();
      expectSame(stranger.answeredBy.join(), outcome.by, 'the answer');
      return;
    }
  }
}

/** The node answers calls with an error, and resets those of its own. */
async function refusalOn(client: HostileClient, id: number): Promise<string> {
  if (id % 2 === 0) await until(() => client.resets.has(id) || client.isOver);
  const reset = client.resets.get(id);
  if (reset !== undefined) return reset;
  const answer = await answerOn(client, id);
  return answer.type === 'error' ? answer.code : `an answer of type ${answer.type}`;
}

async function answerOn(client: HostileClient, id: number): Promise<Message> {
  await until(() => client.answers.has(id) || client.isOver).catch(() => {
    throw new Error(`no answer on ${id}, and ${said(client)}`);
  });
  const answer = client.answers.get(id)?.[0];
  if (answer === undefined) throw new Error(`closed with ${client.ending}, no answer on ${id}`);
  return answer;
}

function said(client: HostileClient): string {
  return `heard ${JSON.stringify([...client.answers])}, resets ${JSON.stringify([...client.resets])}`;
}

function expectSame(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`);
}

function counterOf({ counter, outcome, begin }: Case, transport: TestTransport) {
  if (counter === null || outcome.kind === 'served') return undefined;
  if (counter !== undefined) return counter.replace('TRANSPORT', transport);
  if (outcome.kind === 'refused' || outcome.kind === 'refusedOne') return 'refusals.calls';
  if (outcome.kind !== 'closed') throw new Error('the case has to say what counts it');
  return begin === undefined || begin === 'shaken' ? 'refusals.connections' : 'handshakes.refused';
}
