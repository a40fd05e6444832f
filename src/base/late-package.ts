/**
 * Packages that load when they are first needed. Most processes need none of these, and nobody should wait for them at the start.
 *
 * They load synchronously, so what needs one stays synchronous, too.
 */
import { createRequire } from 'node:module';

const requireHere = createRequire(import.meta.url);

/**
 * A package that is CommonJS, or has a CommonJS build.
 * @returns gives the package, and loads it the first time. It throws what the package throws
 */
export function latePackage<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= requireHere(name) as T;
    return loaded;
  };
}

/** Loads a package that another one depends on, as that one finds it. @throws Error where it is not installed or does not load */
export function requirePackageOf(owner: string, name: string): unknown {
  return createRequire(requireHere.resolve(owner))(name);
}
