/** Whether two object types say the same: lets the compiler hold types and schema together. Types only. */

/**
 * The keys at which two object types differ: those that one of them lacks, and those whose types are not assignable both
 * ways. `never` when there is none. Nested objects count as a whole, so an optional key that one side lacks in there goes
 * unseen: compare them, too.
 */
export type Differences<A, B> = {
  [K in keyof A | keyof B]: K extends keyof A & keyof B
    ? [A[K], B[K]] extends [B[K], A[K]]
      ? never
      : K
    : K;
}[keyof A | keyof B];

/** Compiles only where nothing differs; the compiler's error names what does. */
export type Agree<Difference extends never> = Difference;
