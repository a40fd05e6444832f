/** What the pages promise and a machine can check: programs run, fragments compile, links lead somewhere. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { writeDevCerts } from '../../src/certs/index.js';
import { FRAGMENT_CONTEXT } from './fragment-context.js';
import { type CodeBlock, readPages, targetOf } from './pages.js';

const run = promisify(execFile);
const pages = readPages();
const blocks = pages.flatMap((page) => page.blocks);
const isProgram = ({ code }: CodeBlock): boolean => /^import .* from 'quicmesh/m.test(code);
const programs = blocks.filter(isProgram);
const typed = blocks.filter(({ language }) => language === 'ts');
const require = createRequire(import.meta.url);
const COMPILER = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');

test('programs of the pages run as they stand and print what their page says', async (t) => {
  t.true(programs.some(({ language }) => language === 'js'));
  t.true(programs.some(({ language }) => language === 'ts'));
  const project = await makeProject(t);
  await writeDevCerts(join(project, 'certs'), ['n1']);
  await compile(project, programs);
  const runs = programs.map(async ({ place }, index) => {
    const program = join(project, 'out', `block-${index}.mjs`);
    const { stdout } = await run(process.execPath, [program], { cwd: project, timeout: 30_000 });
    return { place, prints: stdout.trimEnd() };
  });
  const expected = programs.map(({ place, prints }) => ({ place, prints }));
  t.deepEqual(await Promise.all(runs), expected);
});

test('fragments of the pages are TypeScript that compiles in strict mode', async (t) => {
  const fragments = typed.filter((block) => !isProgram(block));
  t.true(fragments.length > 10);
  const project = await makeProject(t);
  await writeFile(join(project, 'context.d.ts'), FRAGMENT_CONTEXT);
  await t.notThrowsAsync(compile(project, fragments));
});

test('what is JavaScript on a page is a program', (t) => {
  for (const block of blocks.filter(({ language }) => language === 'js'))
    t.true(isProgram(block), block.place);
});

test('the quick start is short', (t) => {
  const [first] = programs.filter(({ place }) => place.startsWith('README.md'));
  t.true((first as CodeBlock).code.trim().split('\n').length <= 25);
});

test('every entry point of the package resolves and exports what the README names', async (t) => {
  const names: Readonly<Record<string, readonly string[]>> = {
    quicmesh: ['createNode', 'MeshError'],
    'quicmesh/transport': ['QuicTransport', 'TcpTransport', 'TransportManager'],
    'quicmesh/pool': ['ConnectionPool', 'connectionMember'],
    'quicmesh/protocol': ['FrameDecoder', 'encodeFrame', 'MessageCodec', 'acceptHandshake'],
    'quicmesh/certs': ['generateDevCerts', 'writeDevCerts'],
  };
  for (const [entry, exported] of Object.entries(names)) {
    const module: Record<string, unknown> = await import(entry);
    for (const name of exported) t.is(typeof module[name], 'function', `${entry} exports ${name}`);
  }
});

test('links within the repository lead to files, and to headings of theirs', (t) => {
  const byPath = new Map(pages.map((page) => [page.path, page]));
  for (const page of pages) {
    for (const link of page.links.filter((target) => !target.startsWith('https://'))) {
      const { path, anchor } = targetOf(page, link);
      t.true(existsSync(path), `${page.path} links to ${link}`);
      if (anchor !== undefined) {
        t.true(byPath.get(path)?.anchors.has(anchor), `${page.path} links to ${link}`);
      }
    }
  }
});

test('every page can be reached from the README', (t) => {
  const reached = new Set(['README.md']);
  for (const path of reached) {
    const page = pages.find((candidate) => candidate.path === path);
    for (const link of page?.links ?? []) {
      if (page !== undefined && !link.startsWith('https://'))
        reached.add(targetOf(page, link).path);
    }
  }
  for (const { path } of pages) t.true(reached.has(path), path);
});

test('the package has every page and picture that its pages link to', (t) => {
  const { files } = require('../../package.json') as { files: readonly string[] };
  const isPacked = (path: string): boolean =>
    path === 'README.md' || files.some((file) => path === file || path.startsWith(`${file}/`));
  for (const page of pages.filter(({ path }) => isPacked(path))) {
    for (const link of page.links.filter((target) => /\.(md|svg)(#|$)/.test(target))) {
      t.true(isPacked(targetOf(page, link).path), `${page.path} links to ${link}`);
    }
  }
});

test('the README is short', (t) => {
  const readme = pages.find(({ path }) => path === 'README.md');
  t.true((readme?.text.trimEnd().split('\n').length ?? Number.POSITIVE_INFINITY) <= 260);
});

test('commands on the pages are scripts of the package', (t) => {
  const { scripts } = require('../../package.json') as { scripts: object };
  for (const { path, text } of pages) {
    for (const [, name] of text.matchAll(/npm run ([a-z:]+)/g))
      t.true(Object.hasOwn(scripts, name as string), `${path}: npm run ${name}`);
  }
});

/** A project that has installed the package, and is gone when the test ends. */
async function makeProject(t: ExecutionContext): Promise<string> {
  const project = await mkdtemp(join(tmpdir(), 'quicmesh-pages-'));
  t.teardown(() => rm(project, { recursive: true }));
  const modules = join(project, 'node_modules');
  await mkdir(modules);
  await symlink(resolve('.'), join(modules, 'quicmesh'), 'dir');
  await symlink(resolve('node_modules/@types'), join(modules, '@types'), 'dir');
  return project;
}

/** Compiles blocks as modules of their own to `out`, JavaScript as it is. @throws Error what the compiler says */
async function compile(project: string, sources: readonly CodeBlock[]): Promise<void> {
  const compilerOptions = {
    strict: true,
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    allowJs: true,
    outDir: 'out',
    rootDir: '.',
  };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  await Promise.all(
    sources.map(({ place, language, code }, index) => {
      const text = `// ${place}\n${code}\nexport {};\n`;
      return writeFile(join(project, `block-${index}.m${language}`), text);
    }),
  );
  try {
    await run(process.execPath, [COMPILER], { cwd: project });
  } catch (thrown) {
    const { stdout } = thrown as { readonly stdout: string };
    const named = stdout.replace(/block-(\d+)\.m\ws/g, (_, at) => sources[Number(at)]?.place ?? at);
    throw new Error(named);
  }
}
