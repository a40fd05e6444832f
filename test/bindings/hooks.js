/** Module hooks: some packages do not load, as on a platform that they have no build for, and the fork is where it was installed. */
import { FORK_ROOT } from './fork-root.js';

/** @type {readonly string[]} */
let refused = [];

/** @param {{ readonly refused: readonly string[] }} data names of packages */
export function initialize(data) {
  refused = data.refused;
}

/** @type {import('node:module').ResolveHook} */
export function resolve(specifier, context, next) {
  if (refused.some((name) => specifier.startsWith(`${name}/`))) {
    throw new Error(`no build of ${specifier} for this platform`);
  }
  if (!specifier.startsWith('@infisical/')) return next(specifier, context);
  return next(specifier, { ...context, parentURL: new URL('package.json', FORK_ROOT).href });
}
