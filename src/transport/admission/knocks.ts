/** Makes and checks the knocks of a node, by one set of certificates. SPEC.md, "Knocks". Pure. */
import {
  createKnock,
  type KnockTransport,
  knockKeyOfCa,
  knockKeyOfSecret,
  verifyKnock,
} from '../../protocol/knock.js';

/** What knocks follow from besides certificates. SPEC.md, "Knocks". */
export interface Knocking {
  readonly cluster: string;
  /** This node's id. Default: names of its certificate. */
  readonly nodeId: string | undefined;
  readonly secrets: readonly string[];
}

export interface KnocksOptions {
  readonly transport: KnockTransport;
  readonly cluster: string;
  /** The names by which this node may be dialed. */
  readonly nodeIds: readonly string[];
  /** Where there are any, the first takes the place of the CAs for knocks of this node, and all of them for those of others. */
  readonly secrets: readonly string[];
  /** The roots that the node's own chain ends in, best first, and those that it trusts. Certificates in DER. */
  readonly roots: { readonly own: readonly Uint8Array[]; readonly trusted: readonly Uint8Array[] };
}

/** The keys that follow from one set of certificates, and what is done with them. */
export class Knocks {
  readonly #transport: KnockTransport;
  readonly #nodeIds: readonly string[];
  /** Keys of knocks that are made here. */
  readonly #own: readonly Buffer[];
  /** Keys of knocks that are taken here. */
  readonly #taken: readonly Buffer[];

  constructor({ transport, cluster, nodeIds, secrets, roots }: KnocksOptions) {
    this.#transport = transport;
    this.#nodeIds = nodeIds;
    if (secrets.length > 0) {
      this.#taken = secrets.map((secret) => knockKeyOfSecret(secret, cluster));
      this.#own = this.#taken.slice(0, 1);
    } else {
      this.#taken = roots.trusted.map((root) => knockKeyOfCa(root, cluster));
      this.#own = roots.own.map((root) => knockKeyOfCa(root, cluster));
    }
  }

  /** With how many keys this node may knock. There are several only where its chain ends in several roots. */
  get choices(): number {
    return this.#own.length;
  }

  /**
   * Makes a knock.
   * @param nodeId whom it is for; `undefined` where that is not known
   * @param choice the number of the key, counted on from the last back to the first: see {@link choices}
   * @param nowMs since 1970
   * @param random as many bytes as `KNOCK_RANDOM_BYTES`
   */
  create(nodeId: string | undefined, choice: number, nowMs: number, random: Uint8Array): Buffer {
    const key = this.#own[choice % this.#own.length] as Buffer;
    return createKnock(key, { transport: this.#transport, nodeId }, nowMs, random);
  }

  /**
   * Checks a knock of a dialer, in constant time.
   * @param nowMs since 1970
   * @returns the number of its time slot; `undefined` where it is not good
   */
  verify(knock: Uint8Array, nowMs: number): number | undefined {
    const listener = { transport: this.#transport, nodeIds: this.#nodeIds, keys: this.#taken };
    return verifyKnock(knock, listener, nowMs);
  }
}
