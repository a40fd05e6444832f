/**
 * `node --import ./scripts/typescript/register.js program.ts`: runs TypeScript as it is written, for the tests.
 *
 * tsx does the same for whoever runs a script. Every test file is a process of its own, and so is much that tests start: this takes
 * half a second less of the processor for each.
 */
import { register } from 'node:module';

register('./hooks.js', import.meta.url);
