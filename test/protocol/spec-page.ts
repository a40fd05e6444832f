/** SPEC.md, as far as tests read it: its text and its tables. */
import { readFileSync } from 'node:fs';

export const spec = readFileSync(new URL('../../src/protocol/SPEC.md', import.meta.url), 'utf8');

/** The rows of the first table below a heading, without its head. */
export function tableIn(heading: string): string[][] {
  const start = spec.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`no heading ${heading}`);
  const body = spec.slice(start + heading.length + 2).split(/\n#+ /)[0] as string;
  const lines = body.split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  if (first < 0) return [];
  const rows: string[][] = [];
  for (const line of lines.slice(first + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}
