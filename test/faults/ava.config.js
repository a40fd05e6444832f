/** Tests of whole processes: flooded, killed, stopped, cut off. Minutes, one at a time, so they are no part of `npm test`. */
export default {
  files: ['test/faults/*.fault.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./scripts/typescript/register.js'],
  workerThreads: false,
  concurrency: 1,
  serial: true,
  timeout: '5m',
};
