/** Whole processes, flooded, killed, stopped, cut off, and what takes long. Minutes, one at a time, so no part of `npm test`. */
export default {
  files: ['test/faults/*.fault.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./scripts/typescript/register.js'],
  workerThreads: false,
  concurrency: 1,
  serial: true,
  timeout: '5m',
};
