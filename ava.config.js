export default {
  files: ['test/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
  workerThreads: false,
  require: ['./test/helpers/watchdog.ts'],
  timeout: '60s',
};
