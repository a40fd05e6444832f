/**
 * The worker's program as JavaScript, by the compiler that also makes what users install: what loads TypeScript on
 * the fly adds calls of its own to every function that is made, which would count as ours.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
/** Within the project, so that the program finds its packages; git ignores it. */
const RESULTS = join(HERE, '..', '..', 'bench-results');
const BUILD_LIMIT_MS = 60_000;

export interface WorkerBuild extends AsyncDisposable {
  /** Path of the program. */
  readonly program: string;
  /** Path of `first-reply.ts`, likewise. */
  readonly firstReplyProgram: string;
}

/** Gone when it is disposed of, or with this process. @throws Error what the compiler says */
export async function buildWorker(): Promise<WorkerBuild> {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json');
  const compiler = join(dirname(typescript), 'bin', 'tsc');
  const project = join(HERE, 'tsconfig.worker.json');
  await mkdir(RESULTS, { recursive: true });
  const directory = await mkdtemp(join(RESULTS, 'worker-'));
  const onExit = (): void => rmSync(directory, { recursive: true, force: true });
  process.once('exit', onExit);
  const compile = [compiler, '--project', project, '--outDir', directory];
  await promisify(execFile)(process.execPath, compile, { timeout: BUILD_LIMIT_MS });
  const programs = join(directory, 'scripts', 'bench');
  return {
    program: join(programs, 'worker.js'),
    firstReplyProgram: join(programs, 'first-reply.js'),
    async [Symbol.asyncDispose]() {
      process.off('exit', onExit);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
