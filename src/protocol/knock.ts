/**
 * Knocks: 20 bytes by which a dialer shows a listener, in its very first packet, that it belongs to the cluster. A listener
 * that demands them answers nobody else. SPEC.md, "Knocks".
 *
 *     random, 8 bytes | MAC, 12 bytes
 *
 * The first byte of the random part says which time slot the knock is of, and whether it names the listener. So a listener
 * computes one MAC for each key that it takes, whatever it is sent.
 *
 * Pure: the caller brings the time and the random bytes.
 */
import { hash, hkdfSync, timingSafeEqual } from 'node:crypto';
import { MeshError } from '../errors.js';

export const KNOCK_BYTES = 20;
/** How much of a knock is random. */
export const KNOCK_RANDOM_BYTES = 8;
/** Knocks of this length of time have the same slot number. Those of the slots before and after are good, too. */
export const KNOCK_SLOT_MS = 30_000;

const KEY_BYTES = 32;
/** Of SHA-256. */
const BLOCK_BYTES = 64;
const HASH_BYTES = 32;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;
const SLOT_BITS_SHIFT = 6;
/** The slot's number modulo four is in the two highest bits of the first byte. */
const SLOT_BITS = 0b11;
const NAMES_LISTENER = 0b0010_0000;
const CHOSEN_BITS = 0b1110_0000;

/** The transports that have knocks, by the names that the MAC covers. */
export type KnockTransport = 'quic' | 'tcp';

/** Whom a knock is for. It is no good at another transport or another listener. */
export interface KnockTarget {
  readonly transport: KnockTransport;
  /** The listener's node id; `undefined` where the dialer does not know it. */
  readonly nodeId: string | undefined;
}

/** Who judges a knock. */
export interface KnockListener {
  readonly transport: KnockTransport;
  /** The names by which it may be dialed; it is one name as a rule. */
  readonly nodeIds: readonly string[];
  readonly keys: readonly Uint8Array[];
}

/** The key of those who have a CA's certificate. @param certificate in DER, of the root that a dialer's chain ends in */
export function knockKeyOfCa(certificate: Uint8Array, cluster: string): Buffer {
  return Buffer.from(hkdfSync('sha256', certificate, 'quicmesh knock ca', cluster, KEY_BYTES));
}

/** The key of those who have a secret: text that nobody can guess. */
export function knockKeyOfSecret(secret: string, cluster: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'quicmesh knock secret', cluster, KEY_BYTES));
}

/**
 * Makes a knock.
 * @param nowMs since 1970
 * @param random {@link KNOCK_RANDOM_BYTES} bytes, new ones for every knock
 * @throws MeshError InvalidArgument for another number of random bytes
 */
export function createKnock(
  key: Uint8Array,
  target: KnockTarget,
  nowMs: number,
  random: Uint8Array,
): Buffer {
  if (random.length !== KNOCK_RANDOM_BYTES) {
    throw new MeshError('InvalidArgument', `a knock needs ${KNOCK_RANDOM_BYTES} random bytes`);
  }
  const slot = slotAt(nowMs);
  const knock = Buffer.alloc(KNOCK_BYTES);
  knock.set(random);
  const names = target.nodeId === undefined ? 0 : NAMES_LISTENER;
  const said = ((slot & SLOT_BITS) << SLOT_BITS_SHIFT) | names;
  knock[0] = ((knock[0] as number) & ~CHOSEN_BITS) | said;
  macOf(key, inputOf(knock, slot, target)).copy(knock, KNOCK_RANDOM_BYTES);
  return knock;
}

/**
 * Checks a knock. It takes the same time whichever key it is of, and whether it is of any.
 * @param nowMs since 1970
 * @returns the number of the knock's time slot; `undefined` for no knock, a forged one, or one of another time
 */
export function verifyKnock(
  knock: Uint8Array,
  { transport, nodeIds, keys }: KnockListener,
  nowMs: number,
): number | undefined {
  if (knock.length !== KNOCK_BYTES) return undefined;
  const said = knock[0] as number;
  const slot = nearSlot(slotAt(nowMs), said >> SLOT_BITS_SHIFT);
  if (slot === undefined) return undefined;
  const mac = knock.subarray(KNOCK_RANDOM_BYTES);
  let isGood = false;
  for (const nodeId of (said & NAMES_LISTENER) === 0 ? NOBODY : nodeIds) {
    const input = inputOf(knock, slot, { transport, nodeId });
    for (const key of keys) {
      const isOfKey = timingSafeEqual(macOf(key, input), mac);
      isGood = isOfKey || isGood;
    }
  }
  return isGood ? slot : undefined;
}

const NOBODY = [undefined] as const;

/** The number of the time slot. */
export function slotAt(nowMs: number): number {
  return Math.floor(nowMs / KNOCK_SLOT_MS);
}

/** The slot with these bits that is no further than one from the present one. */
function nearSlot(present: number, bits: number): number | undefined {
  for (let slot = present - 1; slot <= present + 1; slot += 1) {
    if ((slot & SLOT_BITS) === bits) return slot;
  }
  return undefined;
}

/** What the MAC covers. The transport has its length before it, so no two scopes give the same input. */
function inputOf(knock: Uint8Array, slot: number, { transport, nodeId = '' }: KnockTarget): Buffer {
  // Node ids are ASCII, and their case does not matter.
  const scope = Buffer.from(`${transport}${nodeId.toLowerCase()}`);
  const head = KNOCK_RANDOM_BYTES + 8 + 1;
  const input = Buffer.alloc(head + scope.length);
  input.set(knock.subarray(0, KNOCK_RANDOM_BYTES));
  input.writeUIntBE(slot, KNOCK_RANDOM_BYTES + 2, 6);
  input[head - 1] = transport.length;
  input.set(scope, head);
  return input;
}

/**
 * HMAC-SHA-256 (RFC 2104), made of two hashes: the objects of node:crypto's Hmac cost three times the hashing, and are left to
 * the garbage collector, with every packet of a flood.
 */
function macOf(key: Uint8Array, input: Buffer): Buffer {
  const inner = Buffer.allocUnsafe(BLOCK_BYTES + input.length).fill(INNER_PAD, 0, BLOCK_BYTES);
  const outer = Buffer.allocUnsafe(BLOCK_BYTES + HASH_BYTES).fill(OUTER_PAD, 0, BLOCK_BYTES);
  for (let i = 0; i < key.length; i += 1) {
    const byte = key[i] as number;
    inner[i] = INNER_PAD ^ byte;
    outer[i] = OUTER_PAD ^ byte;
  }
  inner.set(input, BLOCK_BYTES);
  // As text: of short results, node:crypto makes a string much sooner than a buffer.
  outer.write(hash('sha256', inner, 'binary'), BLOCK_BYTES, 'latin1');
  const mac = Buffer.from(hash('sha256', outer, 'binary'), 'latin1');
  return mac.subarray(0, KNOCK_BYTES - KNOCK_RANDOM_BYTES);
}
