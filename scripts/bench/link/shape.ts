/** What a link does to packets, and the links that suites are measured over. */

export interface Shape {
  /** Without jitter, queues, and the time of the machine itself. */
  readonly rttMs: number;
  /** Of packets, each way. */
  readonly lossPercent?: number;
  /** Mean number of packets that are lost in a row. Default 1. */
  readonly burst?: number;
  /** What wanders between nothing and this much, each way; packets keep their order. */
  readonly jitterMs?: number;
  /** Of packets, each way: these come `holdMs` late, and so behind others. */
  readonly reorderPercent?: number;
  readonly holdMs?: number;
  readonly rateMbit?: number;
  /** Before the link, where it has a rate. Default: {@link bandwidthDelayBytes}. */
  readonly queueBytes?: number;
}

/** A cell of a phone: delays that wander, losses in bursts, some packets late by a retransmission on the air. */
export const MOBILE: Shape = {
  rttMs: 60,
  jitterMs: 25,
  lossPercent: 1,
  burst: 3,
  reorderPercent: 0.5,
  holdMs: 8,
  rateMbit: 20,
};

/** What is under way on a link that is full, there and back: the classic size of its queue. */
export function bandwidthDelayBytes({ rateMbit = 0, rttMs }: Shape): number {
  return (rateMbit * 1000 * rttMs) / 8;
}

/** As the link's program reads it. */
export function encodeShape(shape: Shape): string {
  const { rttMs, jitterMs = 0, lossPercent = 0, burst = 1, rateMbit = 0 } = shape;
  const { reorderPercent = 0, holdMs = 0, queueBytes = bandwidthDelayBytes(shape) } = shape;
  const [loss, reorder] = [lossPercent / 100, reorderPercent / 100];
  return `shape ${[rttMs / 2, jitterMs, loss, burst, reorder, holdMs, rateMbit, queueBytes].join(' ')}`;
}
