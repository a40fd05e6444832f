/**
 * Calls of which only the latest matters, such as heartbeats: a newer one with the same key takes the place of one that
 * has not left this node, in whichever line that waits.
 */

import { offAbort, onAbort } from '../../base/abortable.js';
import { MeshError } from '../../errors.js';
import type { FrameStream } from '../../transport/connection.js';
import type { Nesting } from '../handling.js';
import type { CallOptions } from '../types.js';

/** What one attempt at a call is made with. */
export interface AttemptOptions extends CallOptions {
  /** Where `latestOnly` is set. */
  readonly place?: CallPlace | undefined;
  /** Where a handler makes the call. */
  readonly nesting?: Nesting | undefined;
}

/** A call that has a stream, as its place sees it. */
export interface PlacedCall {
  /** Whether any byte of it has left. */
  readonly hasLeft: boolean;
  /** Gives up its stream, emptied and where it stands in line, for another call; `undefined`: it has none to give. */
  yieldStream(): YieldedStream | undefined;
}

/** A stream that has left a call and not found the next one. */
export interface YieldedStream {
  readonly stream: FrameStream;
  /** Where it was opened: it serves no call that goes elsewhere. */
  readonly opener: object;
}

/** Where a call stands that a newer one may take the place of. */
export class CallPlace {
  readonly #end = new AbortController();
  #call: PlacedCall | undefined;
  #hasLeft = false;
  #yielded: YieldedStream | undefined;

  /** @param yielded the stream of the call whose place this is */
  constructor(yielded: YieldedStream | undefined) {
    this.#yielded = yielded;
  }

  /** Fires when the call is given up, by its caller or for a newer one. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Whether any attempt at the call has left. */
  get hasLeft(): boolean {
    return this.#hasLeft || this.#call?.hasLeft === true;
  }

  /** Whether {@link take} would give a stream. */
  hasStreamOf(opener: object): boolean {
    return this.#yielded?.opener === opener;
  }

  /** An attempt begins. @returns the stream to take, if there is one of that opener */
  take(call: PlacedCall, opener: object): FrameStream | undefined {
    this.#hasLeft = this.hasLeft;
    this.#call = call;
    const yielded = this.#yielded;
    if (yielded?.opener !== opener) return undefined;
    this.#yielded = undefined;
    return yielded.stream;
  }

  /** Nobody takes the stream any more. */
  release(): void {
    this.#yielded?.stream.reset('Cancelled', 'superseded');
    this.#yielded = undefined;
  }

  /** Ends the call in favour of a newer one. Only while it has not left. */
  supersede(): YieldedStream | undefined {
    const yielded = this.#call?.yieldStream();
    this.#end.abort(new MeshError('Superseded', 'a newer call with the same key took its place'));
    return yielded;
  }

  readonly giveUp = ({ reason }: AbortSignal): void => {
    this.#end.abort(reason);
  };
}

export class LatestCalls {
  /** Of calls that have not settled: no more than those may be. */
  readonly #places = new Map<string, CallPlace>();

  /** Keys of calls under way. */
  get size(): number {
    return this.#places.size;
  }

  /** @throws MeshError as the call itself, and Superseded; InvalidArgument for a key that is none */
  async call<T>(
    key: string,
    options: CallOptions,
    start: (options: AttemptOptions) => Promise<T>,
  ): Promise<T> {
    if (typeof key !== 'string' || key === '') {
      throw new MeshError('InvalidArgument', 'latestOnly must be a string, and not empty');
    }
    const { signal } = options;
    // Who is given up already takes nobody's place.
    if (signal?.aborted === true) return start(options);
    const place = new CallPlace(this.#makeRoom(key));
    this.#places.set(key, place);
    if (signal !== undefined) onAbort(signal, place.giveUp);
    try {
      const result = start({ ...options, signal: place.signal, place });
      place.release();
      return await result;
    } finally {
      place.release();
      if (signal !== undefined) offAbort(signal, place.giveUp);
      if (this.#places.get(key) === place) this.#places.delete(key);
    }
  }

  #makeRoom(key: string): YieldedStream | undefined {
    const older = this.#places.get(key);
    return older === undefined || older.hasLeft ? undefined : older.supersede();
  }
}
