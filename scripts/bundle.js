/**
 * The JavaScript of the package's entry points, beside the declarations that the compiler wrote: what the entries share is in files
 * of its own. Node.js would take longer to find and link three hundred modules than to run them.
 */
import { readFileSync } from 'node:fs';
import { build } from 'esbuild';

const { exports, engines } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);
/** `./dist/pool/index.js` is made of `src/pool/index.ts`. */
const entryPoints = Object.values(exports).flatMap((target) =>
  typeof target === 'string'
    ? []
    : [target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')],
);

await build({
  entryPoints,
  outdir: 'dist',
  outbase: 'src',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: `node${/\d+\.\d+/.exec(engines.node)[0]}`,
  packages: 'external',
  chunkNames: 'shared/[name]-[hash]',
  sourcemap: true,
  // The sources are in the package.
  sourcesContent: false,
  logLevel: 'warning',
});
