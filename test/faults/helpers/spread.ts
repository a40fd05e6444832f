/** How moments are spread over time. */

/** For people: a histogram, and its figures. @param sorted moments in milliseconds, in order */
export function describeSpread(sorted: readonly number[], windowMs: number): string {
  const first = sorted[0] ?? 0;
  const bins = new Map<number, number>();
  for (const atMs of sorted) {
    const bin = Math.floor((atMs - first) / windowMs);
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
  }
  const histogram = [...bins].map(([bin, count]) => `${bin * windowMs}: ${count}`).join(', ');
  return (
    `${sorted.length} within ${((sorted.at(-1) ?? 0) - first).toFixed(0)} ms, ` +
    `deviation ${deviation(sorted).toFixed(0)} ms, at most ${mostWithin(sorted, windowMs)} ` +
    `in ${windowMs} ms; from each ms on: ${histogram}`
  );
}

/** The most that any window of that length holds. */
export function mostWithin(sorted: readonly number[], windowMs: number): number {
  const counts = sorted.map(
    (start, i) => sorted.slice(i).filter((atMs) => atMs < start + windowMs).length,
  );
  return Math.max(0, ...counts);
}

/** The standard deviation; 0 of nothing. */
export function deviation(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.map((value) => (value - mean) ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / values.length);
}
