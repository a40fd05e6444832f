/** How numbers, tables and lines look; nothing here knows of meshes. */
import Table from 'cli-table3';
import type { Style } from './screen.js';

/** Columns that {@link labelled} puts before its lines. */
export const LABEL_COLUMNS = 12;

/** `label` in a column of its own before the first of some lines. */
export function labelled(label: string, lines: readonly string[], style: Style): string[] {
  return lines.map((line, at) => `  ${style.dim((at === 0 ? label : '').padEnd(9))} ${line}`);
}

/** Texts side by side, as many as fit. */
export function inColumns(texts: readonly string[], width: number): string[] {
  const gap = 3;
  const widest = Math.max(...texts.map((text) => text.length));
  const perLine = Math.max(1, Math.floor((width + gap) / (widest + gap)));
  const lines: string[] = [];
  for (let at = 0; at < texts.length; at += perLine) {
    const line = texts.slice(at, at + perLine).map((text) => text.padEnd(widest + gap));
    lines.push(line.join('').trimEnd());
  }
  return lines;
}

/** A table without borders. */
export function calmTable(
  head: string[],
  colAligns: ('left' | 'right')[],
  style: Style,
): InstanceType<typeof Table> {
  return new Table({
    head: head.map((title) => style.dim(title)),
    colAligns,
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '  ',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '   ',
    },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
}

/** How much of something is done, from 0 to 1. */
export function bar(done: number, style: Style): string {
  const width = 20;
  const filled = Math.round(Math.min(1, done) * width);
  return style.cyan('━'.repeat(filled)) + style.dim('─'.repeat(width - filled));
}

export function plural(count: number, noun: string): string {
  return `${whole(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** A count, or the nearest to a rate. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Milliseconds, or a dash where nothing was measured. */
export function fixed(ms: number | undefined): string {
  return ms === undefined ? '–' : ms.toFixed(2);
}

/** Bytes in decimal units. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
