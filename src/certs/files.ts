/** Files that appear whole or not at all, with their mode from the start. */
import { randomUUID } from 'node:crypto';
import { chmod, link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { systemCodeOf } from '../base/realms.js';

/** The text of a file; `undefined` when there is none. */
export async function readFileIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The same for a secret; takes group's and others' rights away where the file was put there with them. */
export async function readSecretFile(path: string): Promise<string | undefined> {
  const secret = await readFileIfExists(path);
  if (secret === undefined) return undefined;
  const { mode } = await stat(path);
  // Windows has no such rights and reports them as set.
  if ((mode & 0o077) !== 0 && process.platform !== 'win32') await chmod(path, mode & 0o700);
  return secret;
}

/**
 * Creates a file of mode 0600, unless there is one. Of several processes that do this at once, one creates
 * the file, and all of them get its content. Needs a file system with hard links.
 */
export async function createSecretFile(
  path: string,
  content: string,
): Promise<{ content: string; created: boolean }> {
  const temporary = await writeTemporary(path, content, 0o600);
  try {
    await link(temporary, path);
    return { content, created: true };
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
    return { content: await readFile(path, 'utf8'), created: false };
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Puts a finished file in the place of whatever has that name. */
export async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  const temporary = await writeTemporary(path, content, mode);
  try {
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A finished file beside `path`, which no one else could open before it had its mode. */
async function writeTemporary(path: string, content: string, mode: number): Promise<string> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.chmod(mode); // gives a certificate back what the process's umask took
    await file.writeFile(content);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return temporary;
}
