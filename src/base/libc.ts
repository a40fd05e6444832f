/** Which C library the process runs on. Builds of native packages for Linux are made for one of them. */
import { readFileSync } from 'node:fs';

/** The process's own libraries say it for certain, and a diagnostic report, which has it too, takes tens of milliseconds. */
const GLIBC = /\/libc(?:\.so\.6|-2\.\d+\.so)$/m;

/** Whether that is glibc. False on other systems, and where it cannot be told. */
export function runsOnGlibc(): boolean {
  if (process.platform !== 'linux') return false;
  try {
    return GLIBC.test(readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    return false;
  }
}
