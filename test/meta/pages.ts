/** The pages of the repository, as far as tests read them: headings, links, blocks of code. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface CodeBlock {
  /** Page and line, for people. */
  readonly place: string;
  /** What stands behind the fence, such as `ts`; empty for none. */
  readonly language: string;
  readonly code: string;
  /** What the next sentence says that it prints; `undefined` where it says nothing. */
  readonly prints: string | undefined;
}

export interface Page {
  readonly path: string;
  readonly text: string;
  /** What `#…` of a link to this page may be. */
  readonly anchors: ReadonlySet<string>;
  /** Targets of links and images, as they stand there. */
  readonly links: readonly string[];
  readonly blocks: readonly CodeBlock[];
}

/** Not of the repository: what is installed, made or fetched. */
const FOREIGN = /^(node_modules|dist|coverage|bench-results|\.git)(\/|$)/;
const FENCE = /^```(\w*)\n(.*?)^```$/gms;

/** Every page but those that were installed or made. */
export function readPages(): Page[] {
  const entries = readdirSync('.', { withFileTypes: true }).filter(
    ({ name }) => !FOREIGN.test(name),
  );
  const below = entries
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) =>
      readdirSync(name, { recursive: true, encoding: 'utf8' }).map((path) => join(name, path)),
    );
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  return [...files, ...below]
    .filter((path) => path.endsWith('.md'))
    .sort()
    .map(readPage);
}

/** Where a link of a page leads: a path from the root, and an anchor or none. */
export function targetOf(page: Page, link: string): { path: string; anchor: string | undefined } {
  const [path, anchor] = link.split('#') as [string, string | undefined];
  return { path: path === '' ? page.path : join(dirname(page.path), path), anchor };
}

function readPage(path: string): Page {
  const text = readFileSync(path, 'utf8');
  // Code has brackets and lines that begin with # of its own.
  const prose = text.replace(FENCE, '');
  const links = [
    ...prose.replace(/`[^`\n]*`(?!\])/g, '').matchAll(/\]\(([^)\s]+)\)/g),
    ...prose.matchAll(/^\[[^\]]+\]: (\S+)$/gm),
  ].map((match) => match[1] as string);
  return { path, text, anchors: anchorsIn(prose), links, blocks: blocksIn(path, text) };
}

/** As GitHub makes them of headings: letters and digits in lower case, blanks as dashes, a number for what comes again. */
function anchorsIn(prose: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of prose.matchAll(/^#{1,6} (.+)$/gm)) {
    const words = (heading as string).toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '');
    const slug = words.trim().replace(/\s/g, '-');
    let anchor = slug;
    for (let i = 1; anchors.has(anchor); i += 1) anchor = `${slug}-${i}`;
    anchors.add(anchor);
  }
  return anchors;
}

function blocksIn(path: string, text: string): CodeBlock[] {
  return [...text.matchAll(FENCE)].map((match) => {
    const line = text.slice(0, match.index).split('\n').length;
    const after = text.slice(match.index + match[0].length);
    return {
      place: `${path}:${line}`,
      language: match[1] as string,
      code: match[2] as string,
      prints: /^\n\nIt prints `([^`]+)`/.exec(after)?.[1],
    };
  });
}
