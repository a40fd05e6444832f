/** A node that was taken over: it has a good certificate and an address of its own, and keeps to no rule. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { HostileClient } from '../../../corpus/clients/client.js';
import { QuicClient } from '../../../corpus/clients/quic-client.js';
import { TcpClient } from '../../../corpus/clients/tcp-client.js';
import type { NodeCredentials } from '../../../helpers/certs.js';
import type { Target } from '../protocol.js';

/** That of the nodes. */
const CLUSTER = 'faults';
export const MEMBER_ID = 'n4';
/** Its address: what counts by source counts it apart from others. */
export const MEMBER_HOST = '127.0.0.4';
/** How long one round on a connection lasts. */
const ROUND_MS = 2000;
/** It sends as fast as the node takes it, and does not fill its own memory. */
const MAX_UNSENT_BYTES = 2 * 1024 * 1024;
const SENDS_PER_TURN = 16;
const HANDSHAKE_MS = 3000;

export class Member {
  readonly tls: NodeCredentials;
  #dials = 0;

  constructor(tls: NodeCredentials) {
    this.tls = tls;
  }

  /** A connection with TLS and nothing else, over each transport in turns. */
  async dial(target: Target): Promise<HostileClient> {
    this.#dials += 1;
    const Client = this.#dials % 2 === 0 ? QuicClient : TcpClient;
    const client = await Client.dial({
      target,
      tls: this.tls,
      from: MEMBER_HOST,
      cluster: CLUSTER,
    });
    if (client.isOver) throw new Error(`refused: ${client.ending}`);
    return client;
  }

  /** A connection with a handshake that the node has accepted. */
  async connect(target: Target): Promise<HostileClient> {
    const client = await this.dial(target);
    this.shake(client);
    const endMs = performance.now() + HANDSHAKE_MS;
    while (!client.answers.has(1)) {
      if (client.isOver || performance.now() > endMs) {
        client.hangUp();
        throw new Error(`no handshake: ${client.ending}`);
      }
      await sleep(5);
    }
    return client;
  }

  shake(client: HostileClient): void {
    client.shake(MEMBER_ID, { cluster: CLUSTER });
  }

  /**
   * Sends on a new connection, until the round is over or the node has ended it.
   * @param next sends once more
   * @returns how often it sent
   */
  async round(
    target: Target,
    next: (client: HostileClient, index: number) => void,
    { most = Number.POSITIVE_INFINITY, prepare = () => {} }: RoundOptions = {},
  ): Promise<number> {
    const client = await this.connect(target);
    prepare(client);
    return pour(client, next, most);
  }
}

export interface RoundOptions {
  readonly most?: number;
  readonly prepare?: (client: HostileClient) => void;
}

/** Sends what there is to send for the length of a round, and hangs up at its end. @returns how often it sent */
export async function pour(
  client: HostileClient,
  next: (client: HostileClient, index: number) => void,
  most = Number.POSITIVE_INFINITY,
): Promise<number> {
  const endMs = performance.now() + ROUND_MS;
  let sent = 0;
  while (!client.isOver && performance.now() < endMs) {
    if (sent >= most || client.unsentBytes > MAX_UNSENT_BYTES) {
      await sleep(5);
      continue;
    }
    for (let i = 0; i < SENDS_PER_TURN && sent < most; i += 1, sent += 1) next(client, sent);
    // What the node answers is of no interest.
    client.answers.clear();
    client.resets.clear();
    await nextTurn();
  }
  client.hangUp();
  return sent;
}
