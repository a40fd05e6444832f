/** Notices that files were replaced. Polls: what systems tell of renames, and over networks, differs too much. */
import { statSync } from 'node:fs';

const LOOK_EVERY_MS = 100;

/**
 * Calls back each time that any of the files is another one than before, once all of them have been left alone from one
 * look to the next: certificate and key are two files, and only fit together when both are there.
 * @returns what ends it
 */
export function watchFiles(paths: readonly string[], onChange: () => void): () => void {
  let known = stampOf(paths);
  let seen = known;
  const timer = setInterval(() => {
    const stamp = stampOf(paths);
    const isAtRest = stamp === seen;
    seen = stamp;
    if (!isAtRest || stamp === known || stamp.includes(MISSING)) return;
    known = stamp;
    onChange();
  }, LOOK_EVERY_MS).unref();
  return () => clearInterval(timer);
}

const MISSING = 'missing';

function stampOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? MISSING : `${stat.ino}:${stat.mtimeNs}:${stat.size}`;
    })
    .join(' ');
}
