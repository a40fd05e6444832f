/** Where the fork is installed for its tests. Git ignores it, and `npm ci` empties it. */
export const FORK_ROOT = new URL('../../node_modules/.cache/quicmesh-fork/', import.meta.url);
