/** What the runner asks of a suite, and what a suite reports. */

export interface SuiteOptions {
  /** Fewer and shorter rounds: for a look, not for figures. */
  readonly quick: boolean;
}

export interface Suite {
  readonly name: string;
  run(options: SuiteOptions): Promise<SuiteReport>;
}

/** A figure that is to stay on one side of a number. A benchmark reports; it does not fail over a target. */
export interface Target {
  readonly name: string;
  readonly value: number;
  readonly atMost?: number;
  readonly atLeast?: number;
}

export interface SuiteReport {
  readonly suite: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly targets: readonly Target[];
}

export function isMet({ value, atMost, atLeast }: Target): boolean {
  return (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast);
}
