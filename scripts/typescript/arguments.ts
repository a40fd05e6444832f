/** What Node needs to run programs of this project, which are in TypeScript. See `register.js`. */
export const TYPESCRIPT: readonly string[] = [
  '--import',
  new URL('./register.js', import.meta.url).href,
];
