/** Hostile input against live nodes: a program of its own, because its cases count in hundreds. */
export default {
  files: ['test/corpus/*.corpus.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./scripts/typescript/register.js'],
  workerThreads: false,
  concurrency: 1,
  serial: true,
  timeout: '2m',
};
