/**
 * Installs `@infisical/quic` for `npm run test:bindings`, beside the project and not into it.
 *
 * The package names builds that the registry does not have, for other platforms than Linux x64. `npm install` passes over
 * them, but no lock file that names the package passes `npm ci`: it cannot be a development dependency.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FORK_ROOT } from './fork-root.js';

/** What was reviewed: a lock file would hold the same. */
const INTEGRITY = {
  '@infisical/quic':
    'sha512-ozgGkVdLP+ST41rPYmtaUBnBzisEzoI1l9yIds2l3hbd6OX6I836G0djTWLZbisn2ZO8CEbr8buLUclxqiY/IA==',
  '@infisical/quic-linux-x64':
    'sha512-YE4xk5xv2oAiqZwVqNhC9AUnuFj1Q0cUiZmxih0RqfO51sr1BCgqmSBRWRykrdL8oyPmQduSNWKN7FcckPhYVQ==',
};
const INSTALL_MS = 180_000;

const { peerDependencies } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
);
const root = fileURLToPath(FORK_ROOT);
mkdirSync(root, { recursive: true });
writeFileSync(
  `${root}package.json`,
  JSON.stringify({ private: true, dependencies: peerDependencies }),
);
if (!isInstalled()) {
  const quietly = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'];
  execFileSync('npm', ['install', '--prefix', root, ...quietly], {
    stdio: 'inherit',
    timeout: INSTALL_MS,
    shell: process.platform === 'win32',
  });
  if (!isInstalled())
    throw new Error(`not what was reviewed, or nothing for this platform: ${root}`);
}

function isInstalled() {
  try {
    const { packages } = JSON.parse(readFileSync(`${root}node_modules/.package-lock.json`, 'utf8'));
    return Object.entries(INTEGRITY).every(
      ([name, integrity]) => packages[`node_modules/${name}`].integrity === integrity,
    );
  } catch {
    return false;
  }
}
