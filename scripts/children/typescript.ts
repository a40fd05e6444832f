/** What Node needs to run programs of this project, which are in TypeScript. See `typescript/register.js`. */
export const TYPESCRIPT: readonly string[] = [
  '--import',
  new URL('../typescript/register.js', import.meta.url).href,
];
