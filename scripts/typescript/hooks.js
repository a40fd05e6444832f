/** Module hooks: `./x.js` may be `./x.ts`, whose types are taken away once and then remembered. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Of what was compiled, by its source. Git ignores it, and `npm ci` empties it. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/quicmesh/', import.meta.url));
const OPTIONS = {
  loader: 'ts',
  format: 'esm',
  target: 'es2022',
  sourcemap: 'inline',
  sourcesContent: false,
};

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, next) {
  if (specifier.endsWith('.js') && /^(\.|\/|file:)/.test(specifier)) {
    const { href } = new URL(specifier, context.parentURL);
    const url = `${href.slice(0, -'.js'.length)}.ts`;
    if (existsSync(fileURLToPath(url))) return { url, format: 'module', shortCircuit: true };
  }
  return next(specifier, context);
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  return { format: 'module', source: await compiled(path, text), shortCircuit: true };
}

async function compiled(path, text) {
  const key = createHash('sha1').update(JSON.stringify(OPTIONS)).update(path).update(text);
  const file = `${CACHE}${key.digest('hex')}.js`;
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // It is not there yet.
  }
  const { transform } = await import('esbuild');
  const { code } = await transform(text, { ...OPTIONS, sourcefile: path });
  mkdirSync(CACHE, { recursive: true });
  // Others may be at it: they see all of it or nothing.
  const own = `${file}.${process.pid}`;
  writeFileSync(own, code);
  renameSync(own, file);
  return code;
}
