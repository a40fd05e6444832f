/** What goes over QUIC, by the other binding: in this process and in all that it starts. */
const ONLY_FORK = new URL('only-fork.js', import.meta.url).href;

export default {
  files: [
    'test/bindings/*.binding.ts',
    'test/compliance/*quic.test.ts',
    'test/node/early-*.test.ts',
    'test/node/migration.test.ts',
    'test/transport/quic/**/*.test.ts',
  ],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./scripts/typescript/register.js'],
  environmentVariables: { NODE_OPTIONS: `--import=${ONLY_FORK}` },
  workerThreads: false,
  require: ['./test/helpers/watchdog.ts'],
  concurrency: 3,
  timeout: '60s',
};
