/** What a test and the process of a hostile member say to each other. */
import type { NodeCredentials } from '../../../helpers/certs.js';
import type { Target } from '../protocol.js';

export type Order =
  /** Keeps a processor busy, and sends nothing: what the machine can do while the member attacks, it can do now. */
  | { readonly do: 'spin' }
  | {
      readonly do: 'attack';
      readonly tls: NodeCredentials;
      readonly targets: readonly Target[];
      /** Those whose names this regular expression fits. */
      readonly only: string;
    }
  /** Is answered with a {@link Deeds}. */
  | { readonly do: 'stop' };

/** By attack. */
export type Deeds = Readonly<Record<string, Deed>>;

export interface Deed {
  /** How often it did what it does. */
  done: number;
  /** Rounds that failed, because a node refused them. */
  refused: number;
  /** Why, of one of them. */
  reason?: string;
}
