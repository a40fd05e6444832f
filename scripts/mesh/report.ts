/** What the command shows to people: the live table, the progress and the summary, as lines. Nothing here writes. */
import { bar, calmTable, fixed, labelled, plural, size, whole } from './format.js';
import type { Link, Links } from './links.js';
import type { TransferReport } from './protocol.js';
import { ANSWERS, type Load, type MeshResult, totalCalls } from './result.js';
import type { Restart } from './rolling-restart.js';
import type { Rotation, RotationStep } from './rotate-certs.js';
import type { Style } from './screen.js';

/** `10 links over quic`, or `7 links over quic and 3 over tcp`. */
export function linksByTransport(links: readonly Link[]): string {
  const counts = new Map<string, number>();
  for (const { transport } of links) counts.set(transport, (counts.get(transport) ?? 0) + 1);
  return [...counts]
    .map(
      ([transport, count], at) => `${at === 0 ? plural(count, 'link') : count} over ${transport}`,
    )
    .join(' and ');
}

/**
 * A row for each link, as many as fit into `maxRows`; then the slowest, which are the ones to look at.
 * @param rateOf calls a second of a link
 */
export function linkLines(
  links: Links,
  rateOf: (link: Link) => number,
  maxRows: number,
  style: Style,
): string[] {
  const shown = links.all.length + HEAD_ROWS <= maxRows ? links.all : slowest(links, maxRows);
  const table = calmTable(
    ['link', 'transport', 'calls/s', 'p50 ms', 'p99 ms'],
    ['left', 'left', 'right', 'right', 'right'],
    style,
  );
  for (const link of shown) {
    table.push([
      `${link.from} → ${link.to}`,
      style.cyan(link.transport),
      link.failed > 0 ? style.red(whole(rateOf(link))) : whole(rateOf(link)),
      fixed(link.latency.percentileMs(0.5)),
      fixed(link.latency.percentileMs(0.99)),
    ]);
  }
  const hidden = links.all.length - shown.length;
  return [
    ...table.toString().split('\n'),
    ...(hidden === 0
      ? []
      : [style.dim(`  the slowest by p99; ${plural(hidden, 'more link')} not shown`)]),
  ];
}

/** How far the workload is. */
export function progressLine(
  elapsedSeconds: number,
  seconds: number,
  links: Links,
  style: Style,
): string {
  const done = Math.min(1, elapsedSeconds / seconds);
  const shownSeconds = `${Math.min(elapsedSeconds, seconds).toFixed(1)} of ${seconds} s`;
  const calls = `${whole(links.calls)} calls`;
  return `  ${bar(done, style)} ${shownSeconds}   ${calls}   ${failedText(links.failed, style)}`;
}

/** How far the restarts are. */
export function restartLine(
  nodeId: string | undefined,
  nth: number,
  nodes: number,
  links: Links,
  style: Style,
): string {
  const what = nodeId === undefined ? 'all nodes up' : `restart ${nth} of ${nodes}: ${nodeId}`;
  const calls = `${whole(links.calls)} calls`;
  return `  ${bar(nth / nodes, style)} ${what}   ${calls}   ${failedText(links.failed, style)}`;
}

/** What came of one restart. */
export function restartLines(restart: Restart, style: Style): string[] {
  const { nodeId, drainedInMs, awayMs, linksUpInMs, calls, failed, longestMs } = restart;
  const times = `drained in ${whole(drainedInMs)} ms, away ${whole(awayMs)} ms, links up in ${whole(linksUpInMs)} ms`;
  const came = `${whole(calls)} calls, ${failedText(failed, style)}, the longest ${whole(longestMs)} ms`;
  return labelled(nodeId, [times, came], style);
}

/** How far the rotation is. */
export function rotationLine(
  { title, nth, steps }: { title: string; nth: number; steps: number },
  links: Links,
  style: Style,
): string {
  const calls = `${whole(links.calls)} calls`;
  const done = `${nth} of ${steps}: ${title}`;
  return `  ${bar(nth / steps, style)} ${done}   ${calls}   ${failedText(links.failed, style)}`;
}

/** What came of one step of a rotation. */
export function stepLines(step: RotationStep, style: Style): string[] {
  const { title, tookMs, calls, failed, longestMs } = step;
  const came = `${whole(calls)} calls, ${failedText(failed, style)}, the longest ${whole(longestMs)} ms`;
  return [`  ${title.padEnd(36)} ${style.dim(`in ${whole(tookMs)} ms`.padEnd(14))} ${came}`];
}

/** What an old certificate is worth after a rotation. */
function oldCertificateTexts({ oldCertificate }: Rotation): string[] {
  return oldCertificate.map(({ transport, refusedWith, flaw }) =>
    flaw === null ? `refused over ${transport} with ${refusedWith}` : `over ${transport}: ${flaw}`,
  );
}

/** How far the file is. */
export function transferLine(bytes: number, totalBytes: number, style: Style): string {
  const done = totalBytes === 0 ? 1 : bytes / totalBytes;
  return `  ${bar(done, style)} ${size(bytes)} of ${size(totalBytes)} sent`;
}

/** Totals by type of message, latencies, transports, the file, and the verdict. */
export function summaryLines(result: MeshResult, style: Style): string[] {
  const { counts, links, seconds, transfer, failures, load, restarts, rotation } = result;
  const total = totalCalls(counts);
  const { latency } = links;
  const table = calmTable(
    ['message', 'sent', 'succeeded', 'failed'],
    ['left', 'right', 'right', 'right'],
    style,
  );
  for (const [type, row] of Object.entries(counts)) {
    const name = ANSWERS.includes(type) ? style.dim(`  ${type}`) : type;
    const failed = row.failed > 0 ? style.red(whole(row.failed)) : whole(row.failed);
    table.push([name, whole(row.sent), whole(row.succeeded), failed]);
  }
  const restarted = restarts.length === 0 ? '' : `${plural(restarts.length, 'node')} restarted, `;
  const rotated = rotation === null ? '' : 'certificates and CA replaced, ';
  const rate = style.dim(`(${whole(total.sent / seconds)}/s)`);
  return [
    ...table.toString().split('\n'),
    '',
    ...labelled(
      'calls',
      [`${whole(total.sent)} ${rate}   ${failedText(total.failed, style)}`],
      style,
    ),
    ...labelled(
      'latency',
      [
        `p50 ${fixed(latency.percentileMs(0.5))} ms   p99 ${fixed(latency.percentileMs(0.99))} ms   ` +
          style.dim(`(${loadText(load)})`),
      ],
      style,
    ),
    ...Object.entries(result.counters).flatMap(([transport, counters]) =>
      labelled(transport, transportTexts(counters), style),
    ),
    ...(transfer === null ? [] : labelled('file', transferTexts(transfer), style)),
    ...(rotation === null ? [] : labelled('old cert', oldCertificateTexts(rotation), style)),
    '',
    failures.length === 0
      ? `  ${style.green('✓')} ${restarted}${rotated}${plural(links.all.length, 'link')} up, no call failed`
      : `  ${style.red('✗')} not all is well:`,
    ...failures.map((failure) => `    ${failure}`),
  ];
}

function transferTexts({ bytes, sha256, verifiedBy, durationMs }: TransferReport): string[] {
  const perSecond = (bytes * Math.max(1, verifiedBy.length) * 1000) / Math.max(1, durationMs);
  const names = verifiedBy.length > 8 ? plural(verifiedBy.length, 'node') : verifiedBy.join(', ');
  return [
    `${size(bytes)} to each of ${verifiedBy.length} in ${whole(durationMs)} ms (${size(perSecond)}/s)`,
    `SHA-256 ${sha256.slice(0, 16)}… verified by ${names || 'nobody'}`,
  ];
}

/** The counters worth a look, of those that the transport has; none of a transport that was not needed. */
function transportTexts(counters: Readonly<Record<string, number>>): string[] {
  const { dialed = 0, accepted = 0, datagramsSent, bytesSent = 0 } = counters;
  if (dialed === 0 && accepted === 0) return [];
  if (datagramsSent === undefined) return [`${whole(dialed)} dialed, ${whole(accepted)} accepted`];
  const dropped = Object.entries(counters)
    .filter(([name]) => name.startsWith('dropped'))
    .reduce((sum, [, count]) => sum + count, 0);
  return [`${whole(datagramsSent)} datagrams, ${size(bytesSent)}, ${whole(dropped)} dropped`];
}

function slowest(links: Links, maxRows: number): readonly Link[] {
  const p99 = new Map(links.all.map((link) => [link, link.latency.percentileMs(0.99) ?? 0]));
  const fitting = Math.max(1, maxRows - HEAD_ROWS - 1);
  return [...links.all].sort((a, b) => p99.get(b)! - p99.get(a)!).slice(0, fitting);
}

const HEAD_ROWS = 1;

function loadText(load: Load): string {
  return 'inFlight' in load
    ? `${plural(load.inFlight, 'call')} in flight`
    : `${whole(load.callsPerSecond)} calls a second`;
}

function failedText(failed: number, style: Style): string {
  return failed === 0 ? '0 failed' : style.red(`${whole(failed)} failed`);
}
