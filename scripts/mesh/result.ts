/** What a run came to: the nodes' reports put together, and the object that `--json` promises. */
import type { Links } from './links.js';
import {
  addCounts,
  type CallCounts,
  type CountsByType,
  type TransferReport,
  type TransportCounters,
  type WorkloadReport,
  zeroCounts,
} from './protocol.js';
import type { Restart } from './rolling-restart.js';
import type { Rotation } from './rotate-certs.js';

/** What came of a run that got to its end. */
export interface MeshResult {
  readonly nodes: number;
  /** How long the calls went on. */
  readonly seconds: number;
  /** On all links together. */
  readonly load: Load;
  readonly links: Links;
  readonly counts: CountsByType;
  /** Of all nodes together. */
  readonly counters: TransportCounters;
  readonly restarts: readonly Restart[];
  /** `null` where certificates were not replaced. */
  readonly rotation: Rotation | null;
  readonly transfer: TransferReport | null;
  /** What failed, one line each; empty when nothing did. */
  readonly failures: readonly string[];
}

/** Calls under way at any time, or made in a second. */
export type Load = { readonly inFlight: number } | { readonly callsPerSecond: number };

/** Messages that only answer: what they count is in the calls' totals already. */
export const ANSWERS: readonly string[] = ['pong', 'queryResponse', 'response'];
/** They count by the links formed. */
const HANDSHAKE: readonly string[] = ['handshakeRequest', 'handshakeResponse'];

/** All calls of a run, each counted once; handshakes are not calls. */
export function totalCalls(counts: CountsByType): CallCounts {
  const total = { sent: 0, succeeded: 0, failed: 0 };
  for (const [type, row] of Object.entries(counts)) {
    if (ANSWERS.includes(type) || HANDSHAKE.includes(type)) continue;
    total.sent += row.sent;
    total.succeeded += row.succeeded;
    total.failed += row.failed;
  }
  return total;
}

/** The result in the shape that `--json` promises. */
export function toJson(result: MeshResult): object {
  const { nodes, seconds, links, counts, restarts, rotation, transfer } = result;
  const { latency } = links;
  return {
    nodes,
    seconds: inThousandths(seconds),
    links: links.all.map(({ from, to, transport, rttMs }) => ({
      from,
      to,
      transport,
      rttMs: inThousandths(rttMs),
    })),
    calls: { ...totalCalls(counts), byType: counts },
    latencyMs: { p50: latency.percentileMs(0.5) ?? null, p99: latency.percentileMs(0.99) ?? null },
    restarts: restarts.map(
      ({ nodeId, drainedInMs, awayMs, linksUpInMs, calls, failed, longestMs }) => ({
        nodeId,
        drainedInMs: inThousandths(drainedInMs),
        awayMs: inThousandths(awayMs),
        linksUpInMs: inThousandths(linksUpInMs),
        calls: { made: calls, failed, longestMs: inThousandths(longestMs) },
      }),
    ),
    rotation: rotation && {
      steps: rotation.steps.map(({ title, tookMs, calls, failed, longestMs }) => ({
        step: title,
        tookMs: inThousandths(tookMs),
        calls: { made: calls, failed, longestMs: inThousandths(longestMs) },
      })),
      oldCertificate: rotation.oldCertificate.map(({ transport, refusedWith }) => ({
        transport,
        refusedWith,
      })),
    },
    transfer: transfer && {
      bytes: transfer.bytes,
      sha256: transfer.sha256,
      verifiedBy: transfer.verifiedBy,
    },
  };
}

function inThousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** The counts of all nodes together; handshakes count by the links formed. */
export function countsOf(reports: readonly WorkloadReport[], formed: number): CountsByType {
  const counts = zeroCounts();
  counts.handshakeRequest = { sent: formed, succeeded: formed, failed: 0 };
  counts.handshakeResponse = { sent: formed, succeeded: formed, failed: 0 };
  for (const report of reports) addCounts(counts, report.counts);
  return counts;
}

/** The transports' counters of all nodes together. */
export function countersOf(ofNodes: readonly TransportCounters[]): TransportCounters {
  const sums: Record<string, Record<string, number>> = {};
  for (const [transport, counters] of ofNodes.flatMap(Object.entries<Record<string, number>>)) {
    sums[transport] ??= {};
    const own = sums[transport];
    for (const [name, value] of Object.entries(counters)) own[name] = (own[name] ?? 0) + value;
  }
  return sums;
}

/** Where an old certificate was not refused as it should have been. */
export function rotationFailuresOf(rotation: Rotation | null): string[] {
  return (rotation?.oldCertificate ?? []).flatMap(({ transport, flaw }) =>
    flaw === null ? [] : [`an old certificate over ${transport}: ${flaw}`],
  );
}

/** What went wrong in the workload; the reports are in the order of the ids of those who made them. */
export function failuresOf(
  reports: readonly WorkloadReport[],
  nodeIds: readonly string[],
): string[] {
  return reports.flatMap(({ down, failures }, at) => [
    ...down.map((peer) => `the link from ${nodeIds[at]} to ${peer} is down`),
    ...failures.map(({ text, count }) => (count === 1 ? text : `${text} (${count} times)`)),
  ]);
}
