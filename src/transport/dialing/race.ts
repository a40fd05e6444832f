/** Dials that overlap: the next one begins when the one before fails, or takes long; the first that connects wins. */

import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { Connection } from '../connection.js';

/** One of the dials. It gives up when the signal fires. */
export type RacingDial = (signal: AbortSignal) => Promise<Connection>;

export interface RaceOptions {
  /** After this time the next dial begins beside those under way. */
  readonly staggerMs: number;
  /** Whether a failure is the peer's own answer, or a fault of this side: another dial of the same peer would end the same. */
  readonly isFinal: (error: MeshError) => boolean;
  /** Whether such a failure ends the race. It does where all dials lead to the same peer. */
  readonly endsOnFinal: boolean;
  /** How much a failure tells of why the peer is not connected; 0 is nothing. */
  readonly tellingOf: (error: MeshError) => number;
  readonly signal?: AbortSignal | undefined;
}

/** The result of a race. */
export interface RaceResult {
  readonly connection: Connection;
  /** The index of the dial that connected. */
  readonly winner: number;
  /** How many dials had begun. */
  readonly begun: number;
}

/**
 * Runs the dials and leaves none under way: losers are cancelled, and a connection that they still make is closed.
 * @param dials in order of preference, at least one
 * @throws MeshError the first failure that ends the race; the one that tells most, when all have failed; Cancelled
 */
export function raceDials(dials: readonly RacingDial[], options: RaceOptions): Promise<RaceResult> {
  return new Promise((resolve, reject) => {
    new Race(dials, options, resolve, reject).begin();
  });
}

class Race {
  readonly #dials: readonly RacingDial[];
  readonly #options: RaceOptions;
  readonly #resolve: (result: RaceResult) => void;
  readonly #reject: (error: MeshError) => void;
  readonly #losers = new AbortController();
  readonly #failures: (MeshError | undefined)[] = [];
  #begun = 0;
  #underWay = 0;
  #over = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    dials: readonly RacingDial[],
    options: RaceOptions,
    resolve: (result: RaceResult) => void,
    reject: (error: MeshError) => void,
  ) {
    this.#dials = dials;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true) {
      this.#cancelled();
      return;
    }
    if (signal !== undefined) onAbort(signal, this.#cancelled);
    this.#beginNext();
  }

  readonly #beginNext = (): void => {
    clearTimeout(this.#timer);
    const index = this.#begun;
    const dial = this.#dials[index];
    if (dial === undefined) return;
    this.#begun += 1;
    this.#underWay += 1;
    dial(this.#losers.signal).then(
      (connection) => this.#connected(connection, index),
      (thrown: unknown) => this.#failed(toMeshError(thrown, 'ConnectFailed'), index),
    );
    if (this.#begun < this.#dials.length) {
      this.#timer = setTimeout(this.#beginNext, this.#options.staggerMs);
    }
  };

  #connected(connection: Connection, winner: number): void {
    if (this.#over) {
      void connection.close('NoError', 'another transport was faster');
      return;
    }
    this.#end();
    this.#resolve({ connection, winner, begun: this.#begun });
  }

  #failed(error: MeshError, index: number): void {
    this.#underWay -= 1;
    this.#failures[index] = error;
    if (this.#over) return;
    const { isFinal, endsOnFinal } = this.#options;
    if (endsOnFinal && isFinal(error)) this.#fail(error);
    else if (this.#begun < this.#dials.length) this.#beginNext();
    else if (this.#underWay === 0) this.#fail(this.#mostTelling(error));
  }

  /** The first of those that tell most; where none tells anything, the last in line. */
  #mostTelling(last: MeshError): MeshError {
    let found = this.#failures.at(-1) ?? last;
    let most = 0;
    for (const error of this.#failures) {
      const telling = error === undefined ? 0 : this.#options.tellingOf(error);
      if (error === undefined || telling <= most) continue;
      found = error;
      most = telling;
    }
    return found;
  }

  readonly #cancelled = (): void => {
    this.#fail(cancelledError(this.#options.signal as AbortSignal));
  };

  #fail(error: MeshError): void {
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    const { signal } = this.#options;
    if (signal !== undefined) offAbort(signal, this.#cancelled);
    this.#losers.abort(new MeshError('Cancelled', 'the dial is decided'));
  }
}
