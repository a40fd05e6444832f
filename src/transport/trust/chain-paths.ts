/**
 * Finds the paths from a leaf to trusted roots. There may be several: a CA's certificate and its renewal have the same key, and
 * a cross-signed CA leads to two roots.
 *
 * A stranger chooses the keys in its chain, and some take tens of milliseconds to check one signature with. So no key is used
 * that is not proved. Names are compared first, from the leaf upwards: without a root at the end of them nothing is checked.
 * Then signatures are checked from the roots downwards, each with a key that those above it have proved.
 */
import type { KeyObject } from 'node:crypto';
import { MeshError } from '../../errors.js';
import type { Anchors } from './anchors.js';
import { type CertificateFields, isNamedAsIssuer } from './certificate-fields.js';
import { mayIssue } from './chain-rules.js';
import { weaknessOf } from './key-strength.js';
import { isSignature, isStronglySigned, publicKeyOf } from './signatures.js';

/** The most certificates between leaf and root. */
const MAX_INTERMEDIATES = 7;
/**
 * The most signatures that are checked for one chain. Nearly all of them are good, and so of CAs that are trusted: of wrong ones
 * there may be as many as there are trusted CAs, since some of those may have one name, and at least two.
 */
const MAX_SIGNATURES = 64;
const MIN_WRONG_SIGNATURES = 2;
/** The most paths that are tried, and the most steps to find them. */
const MAX_PATHS = 64;
const MAX_STEPS = 4096;

/** The public keys of trusted roots, which are read once. */
export type RootKeys = WeakMap<CertificateFields, KeyObject>;

/** What {@link ChainPaths} is given. */
export interface ChainPathsOptions {
  readonly leaf: CertificateFields;
  /** Certificates that came with the leaf. */
  readonly others: readonly CertificateFields[];
  readonly anchors: Anchors;
  readonly rootKeys: RootKeys;
}

/**
 * The paths of one chain. Shorter ones come first. CAs in `anchors` that are not self-signed serve as intermediates, as they do
 * for OpenSSL. A leaf that is itself a root is a path of its own.
 */
export class ChainPaths {
  readonly #options: ChainPathsOptions;
  /** The issuers that have signed each certificate, as far as that is proved. */
  readonly #issuers = new Map<CertificateFields, CertificateFields[]>();
  /** How many certificates are between a proved one and the nearest root; 0 for a root. */
  readonly #heights = new Map<CertificateFields, number>();
  /** Verdicts by certificate and public key: a CA and its renewal have the same. */
  readonly #verdicts = new Map<CertificateFields, Map<string, boolean>>();
  #signaturesLeft = MAX_SIGNATURES;
  #wrongLeft: number;
  #stepsLeft = MAX_STEPS;
  #objection: MeshError | undefined;

  constructor(options: ChainPathsOptions) {
    this.#options = options;
    const { roots, intermediates } = options.anchors;
    this.#wrongLeft = Math.max(MIN_WRONG_SIGNATURES, roots.length + intermediates.length);
    this.#proveDownwards(this.#namedUpwards());
  }

  /** Why there may be no path although names lead to a root: a key or a signature is not strong enough. */
  get objection(): MeshError | undefined {
    return this.#objection;
  }

  /** Yields paths from the leaf to a root, as long as the caller asks for more. */
  *[Symbol.iterator](): Generator<readonly CertificateFields[]> {
    const { leaf, anchors } = this.#options;
    const root = anchors.roots.find(({ raw }) => raw.equals(leaf.raw));
    if (root !== undefined) yield [root];
    let pathsLeft = MAX_PATHS;
    for (let length = 2; length <= MAX_INTERMEDIATES + 2; length += 1) {
      for (const path of this.#extend([leaf], length)) {
        yield path;
        pathsLeft -= 1;
        if (pathsLeft === 0) return;
      }
    }
  }

  /** Paths of exactly that length which begin like this one. */
  *#extend(
    path: readonly CertificateFields[],
    length: number,
  ): Generator<readonly CertificateFields[]> {
    for (const issuer of this.#issuers.get(path.at(-1) as CertificateFields) ?? []) {
      this.#stepsLeft -= 1;
      if (this.#stepsLeft <= 0) return;
      const height = this.#heights.get(issuer) as number;
      if (path.length + 1 + height > length || path.includes(issuer)) continue;
      const longer = [...path, issuer];
      if (height > 0) yield* this.#extend(longer, length);
      else if (longer.length === length) yield longer;
    }
  }

  /**
   * What names lead to from the leaf: every CA that can be on a path, roots included.
   * @returns nothing if they lead to no root
   */
  #namedUpwards(): ReadonlySet<CertificateFields> {
    const { leaf, others, anchors } = this.#options;
    const sent = others.filter(({ raw }) => !isAmong(raw, anchors.roots, anchors.intermediates));
    const issuers = [...anchors.roots, ...anchors.intermediates, ...sent].filter(mayIssue);
    const named = new Set<CertificateFields>();
    const roots = new Set(anchors.roots);
    let hasRoot = false;
    const waiting = [leaf];
    for (let subject = waiting.pop(); subject !== undefined; subject = waiting.pop()) {
      for (const issuer of issuers) {
        if (named.has(issuer) || !isNamedAsIssuer(issuer, subject)) continue;
        named.add(issuer);
        if (roots.has(issuer)) hasRoot = true;
        else waiting.push(issuer);
      }
    }
    return hasRoot ? named : new Set();
  }

  #proveDownwards(named: ReadonlySet<CertificateFields>): void {
    const { leaf, anchors } = this.#options;
    const roots = anchors.roots.filter((root) => named.has(root));
    const below = [leaf, ...[...named].filter((issuer) => !roots.includes(issuer))];
    for (const root of roots) this.#heights.set(root, 0);
    const proved = [...roots];
    for (let at = 0; at < proved.length; at += 1) {
      const issuer = proved[at] as CertificateFields;
      for (const subject of below) {
        if (subject === issuer || !isNamedAsIssuer(issuer, subject)) continue;
        if (!this.#isSigned(subject, issuer)) continue;
        const known = this.#issuers.get(subject);
        if (known !== undefined) known.push(issuer);
        else this.#issuers.set(subject, [issuer]);
        // Of a leaf the key is not used here.
        if (subject === leaf || this.#heights.has(subject)) continue;
        this.#heights.set(subject, (this.#heights.get(issuer) as number) + 1);
        proved.push(subject);
      }
    }
  }

  /** @param issuer one whose key is proved */
  #isSigned(subject: CertificateFields, issuer: CertificateFields): boolean {
    const weakness = weaknessIn(subject, issuer);
    if (weakness !== undefined) {
      this.#objection = new MeshError('CertificateInvalid', weakness);
      return false;
    }
    const verdicts = this.#verdicts.get(subject) ?? new Map<string, boolean>();
    this.#verdicts.set(subject, verdicts);
    const key = issuer.key.spki.toString('latin1');
    let isGood = verdicts.get(key);
    if (isGood === undefined && this.#signaturesLeft > 0 && this.#wrongLeft > 0) {
      this.#signaturesLeft -= 1;
      isGood = this.#check(subject, issuer);
      if (!isGood) this.#wrongLeft -= 1;
      verdicts.set(key, isGood);
    }
    return isGood ?? false;
  }

  #check({ signed }: CertificateFields, issuer: CertificateFields): boolean {
    const { rootKeys } = this.#options;
    const key = rootKeys.get(issuer) ?? publicKeyOf(issuer.key.spki);
    if (key === undefined) return false;
    if (this.#heights.get(issuer) === 0) rootKeys.set(issuer, key);
    return isSignature(signed, key);
  }
}

/** Why a signature proves nothing, whatever it is. */
function weaknessIn({ signed }: CertificateFields, issuer: CertificateFields): string | undefined {
  try {
    if (!isStronglySigned(signed)) return 'signature is of a kind that is too weak, or unknown';
    return weaknessOf(issuer.key);
  } catch {
    return 'key or signature cannot be read';
  }
}

function isAmong(der: Buffer, ...lists: readonly (readonly CertificateFields[])[]): boolean {
  return lists.some((list) => list.some(({ raw }) => raw.equals(der)));
}
