/**
 * Calls of which only the latest matters, such as heartbeats: a newer one with the same key takes the place of one that
 * has not left this node, in whichever line that waits.
 */

import { offAbort, onAbort } from '../../base/abortable.js';
import { LazyMap } from '../../base/lazy-collections.js';
import { MeshError } from '../../errors.js';
import type { FrameStream } from '../../transport/connection.js';
import type { Nesting } from '../handling.js';
import type { CallOptions } from '../types.js';

/** The options of one attempt at a call. */
export interface AttemptOptions extends CallOptions {
  /** Set for calls with `latestOnly`. */
  readonly place?: CallPlace | undefined;
  /** Set for calls that a handler makes. */
  readonly nesting?: Nesting | undefined;
}

/** One attempt at a call, as its place sees it. */
export interface PlacedCall {
  /** Whether any byte of it has left. */
  readonly hasLeft: boolean;
  /** Gives its stream to another call: emptied, and with its place in the queue. `undefined` where it has none to give. */
  yieldStream(): YieldedStream | undefined;
}

/** A stream that one call has given up and no other has taken yet. */
export interface YieldedStream {
  readonly stream: FrameStream;
  /** What opened it: only a call that goes by the same opener can use it. */
  readonly opener: object;
}

/** A call that a newer one with the same key may replace, over all of its attempts. */
export class CallPlace {
  readonly #end = new AbortController();
  #call: PlacedCall | undefined;
  #hasLeft = false;
  #yielded: YieldedStream | undefined;

  /** @param yielded the stream of the call that this one replaces */
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

  /** Resets a stream that this call did not take. */
  release(): void {
    this.#yielded?.stream.reset('Cancelled', 'superseded');
    this.#yielded = undefined;
  }

  /** Ends the call in favour of a newer one. To be called only while the call has not left. */
  supersede(): YieldedStream | undefined {
    const yielded = this.#call?.yieldStream();
    this.#end.abort(new MeshError('Superseded', 'a newer call with the same key took its place'));
    return yielded;
  }

  readonly giveUp = ({ reason }: AbortSignal): void => {
    this.#end.abort(reason);
  };
}

/** The calls with `latestOnly` to one peer, by key. */
export class LatestCalls {
  /** By key, only calls that have not settled: their number bounds the map. */
  readonly #places = new LazyMap<string, CallPlace>();

  /** How many keys have a call under way. */
  get size(): number {
    return this.#places.size;
  }

  /** @throws MeshError as the call itself, and Superseded; InvalidArgument for a key that is no text or is empty */
  async call<T>(
    key: string,
    options: CallOptions,
    start: (options: AttemptOptions) => Promise<T>,
  ): Promise<T> {
    if (typeof key !== 'string' || key === '') {
      throw new MeshError('InvalidArgument', 'latestOnly must be a string, and not empty');
    }
    const { signal } = options;
    // A call that is cancelled already must not replace one that is under way.
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
