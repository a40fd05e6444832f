export default {
  files: ['test/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./scripts/typescript/register.js'],
  workerThreads: false,
  require: ['./test/helpers/watchdog.ts'],
  // Many files wait more than they compute: two processors have work for three.
  concurrency: 3,
  timeout: '60s',
};
