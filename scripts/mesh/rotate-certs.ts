/**
 * Replaces the certificates of all nodes, and then their CA, while all of them go on calling each other: files are written,
 * the nodes notice by themselves.
 */
import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateDevCerts } from '../../src/certs/index.js';
import { type CertFiles, digestOf, type Pems } from './cert-files.js';
import type { Fleet } from './fleet.js';
import { type OldCertificateVerdict, tryOldCertificate } from './old-certificate.js';
import type { Pace, Tally, Target, WorkloadReport } from './protocol.js';

/** One step of the rotation; the calls are those of all nodes, from its beginning to the end of the pause after it. */
export interface RotationStep {
  readonly title: string;
  /** Until all nodes had it in force, and their connections showed it. */
  readonly tookMs: number;
  readonly calls: number;
  readonly failed: number;
  readonly longestMs: number;
}

export interface Rotation {
  readonly steps: readonly RotationStep[];
  /** What came of dials with a certificate from before, by transport. */
  readonly oldCertificate: readonly OldCertificateVerdict[];
}

export interface RotationOptions {
  readonly files: CertFiles;
  /** What the nodes have at the beginning, and the CA's key. */
  readonly before: { readonly ca: string; readonly caKey: string; readonly nodes: NodePems };
  readonly targets: readonly Target[];
  readonly transports: readonly ('quic' | 'tcp')[];
  readonly pace: Pace;
  /** How long calls go on before, between and after the steps. */
  readonly pauseMs: number;
  /** No step hangs longer than this. */
  readonly limitMs: number;
  readonly onBegin: (title: string, nth: number, steps: number) => void;
  readonly onDone: (step: RotationStep) => void;
}

export type NodePems = Readonly<Record<string, { readonly cert: string; readonly key: string }>>;

export interface RotationResult {
  readonly rotation: Rotation;
  /** In the order of the nodes. */
  readonly reports: readonly WorkloadReport[];
}

/** @throws Error as Fleet.ask, or when a step is not done in time */
export function rotateCertificates(
  fleet: Fleet,
  options: RotationOptions,
): Promise<RotationResult> {
  return new CertRotation(fleet, options).run();
}

/** How long calls go on that nobody stops. */
const MAX_SECONDS = 3600;
const LOOK_AGAIN_MS = 25;

class CertRotation {
  readonly #fleet: Fleet;
  readonly #options: RotationOptions;
  readonly #nodeIds: readonly string[];
  /** What each node's files hold now. */
  readonly #current = new Map<string, Pems>();

  constructor(fleet: Fleet, options: RotationOptions) {
    this.#fleet = fleet;
    this.#options = options;
    this.#nodeIds = fleet.nodes.map(({ nodeId }) => nodeId);
    const { ca, nodes } = options.before;
    for (const nodeId of this.#nodeIds) this.#current.set(nodeId, { ca, ...pemsOf(nodes, nodeId) });
  }

  async run(): Promise<RotationResult> {
    const { before, pauseMs, onBegin, onDone } = this.#options;
    const runs = this.#beginCalls();
    await sleep(pauseMs);
    const existing = { ca: before.ca, caKey: before.caKey };
    const renewed = await generateDevCerts(this.#nodeIds, { existing });
    const next = await generateDevCerts(this.#nodeIds);
    const steps: [string, () => Promise<void>][] = [
      ...this.#nodeIds.map((nodeId): [string, () => Promise<void>] => [
        `${nodeId} gets another certificate`,
        () => this.#changeLeaf(nodeId, pemsOf(renewed.nodes, nodeId)),
      ]),
      ['all trust the new CA as well', () => this.#changeCa(before.ca + next.ca)],
      ...this.#nodeIds.map((nodeId): [string, () => Promise<void>] => [
        `${nodeId} gets a certificate of the new CA`,
        () => this.#changeLeaf(nodeId, pemsOf(next.nodes, nodeId)),
      ]),
      ['all trust the new CA alone', () => this.#changeCa(next.ca)],
    ];
    const done: RotationStep[] = [];
    for (const [at, [title, work]] of steps.entries()) {
      onBegin(title, at + 1, steps.length);
      const step = await this.#step(title, work);
      done.push(step);
      onDone(step);
    }
    await this.#untilAllShow(() => true);
    // By the new CA it knocks well: a node of the old one would be met with silence.
    const oldCertificate = await this.#tryOldCertificate(next.ca);
    await sleep(pauseMs);
    await this.#askAll({ kind: 'stop' });
    return { rotation: { steps: done, oldCertificate }, reports: await Promise.all(runs) };
  }

  async #step(title: string, work: () => Promise<void>): Promise<RotationStep> {
    const before = await this.#tally();
    const startMs = performance.now();
    await work();
    const tookMs = performance.now() - startMs;
    await sleep(this.#options.pauseMs);
    const after = await this.#tally();
    return {
      title,
      tookMs,
      calls: after.calls - before.calls,
      failed: after.failed - before.failed,
      longestMs: after.longestMs,
    };
  }

  /** Those who dialed the node still hold what it showed then; those whom it dialed see the new one. */
  async #changeLeaf(nodeId: string, leaf: { cert: string; key: string }): Promise<void> {
    await this.#write(nodeId, { ...this.#pems(nodeId), ...leaf });
    await this.#untilAllShow(({ by, role }) => by === nodeId && role === 'acceptor');
  }

  async #changeCa(ca: string): Promise<void> {
    for (const nodeId of this.#nodeIds) await this.#write(nodeId, { ...this.#pems(nodeId), ca });
  }

  /** Writes a node's files, and waits until they are in force. */
  async #write(nodeId: string, pems: Pems): Promise<void> {
    const { files, limitMs } = this.#options;
    await files.write(nodeId, pems);
    this.#current.set(nodeId, pems);
    await this.#until(`${nodeId} to read its files`, async () => {
      const report = await this.#fleet.ask(nodeId, { kind: 'identity' }, limitMs);
      return report.inForce === digestOf(pems);
    });
  }

  /** Waits until no node has a connection of that kind whose peer showed something else than it has now. */
  async #untilAllShow(
    isMeant: (shown: { by: string; role: 'dialer' | 'acceptor' }) => boolean,
  ): Promise<void> {
    await this.#until('connections to show the new certificates', async () => {
      const reports = await this.#askAll({ kind: 'identity' });
      return reports.every(({ shown }) =>
        shown.every(
          (one) => !isMeant(one) || one.fingerprint256 === fingerprintOf(this.#pems(one.by)),
        ),
      );
    });
  }

  /** n1's first certificate, shown to another node: the new ones trust its CA no more. */
  async #tryOldCertificate(ca: string): Promise<readonly OldCertificateVerdict[]> {
    const { before, targets, transports, limitMs } = this.#options;
    const [nodeId, other] = this.#nodeIds as [string, string];
    const target = targets.find((candidate) => candidate.nodeId === other) as Target;
    const tls = { ca, ...pemsOf(before.nodes, nodeId) };
    const verdicts: OldCertificateVerdict[] = [];
    for (const transport of transports) {
      verdicts.push(await tryOldCertificate({ nodeId, tls, target, transport, limitMs }));
    }
    return verdicts;
  }

  #beginCalls(): Promise<WorkloadReport>[] {
    const { pace, limitMs } = this.#options;
    return this.#nodeIds.map((nodeId) => {
      const peers = this.#nodeIds.filter((other) => other !== nodeId);
      const command = { kind: 'run', peers, seconds: MAX_SECONDS, pace } as const;
      const run = this.#fleet.ask(nodeId, command, MAX_SECONDS * 1000 + limitMs);
      // Whoever ends the calls hears of it.
      run.catch(() => {});
      return run;
    });
  }

  async #tally(): Promise<Tally> {
    const all = await this.#askAll({ kind: 'tally' });
    return {
      calls: all.reduce((sum, { calls }) => sum + calls, 0),
      failed: all.reduce((sum, { failed }) => sum + failed, 0),
      longestMs: Math.max(...all.map(({ longestMs }) => longestMs)),
    };
  }

  #askAll<C extends { kind: 'stop' } | { kind: 'tally' } | { kind: 'identity' }>(command: C) {
    return this.#fleet.askAll(() => command, this.#options.limitMs);
  }

  async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + this.#options.limitMs;
    while (!(await isSo())) {
      if (performance.now() > deadlineMs) {
        throw new Error(`waited ${this.#options.limitMs / 1000} s in vain for ${what}`);
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  #pems(nodeId: string): Pems {
    return this.#current.get(nodeId) as Pems;
  }
}

function pemsOf(nodes: NodePems, nodeId: string): { cert: string; key: string } {
  const pems = nodes[nodeId];
  if (pems === undefined) throw new Error(`there is no certificate for ${nodeId}`);
  return pems;
}

function fingerprintOf({ cert }: Pems): string {
  return new X509Certificate(cert).fingerprint256;
}
