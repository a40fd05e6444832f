/** All that depends on one set of certificates: trusted roots, native configurations, and the key of session tickets. */
import { createHash, randomBytes } from 'node:crypto';
import { type Knocking, Knocks } from '../../admission/knocks.js';
import type { Role, TlsMaterial } from '../../connection.js';
import type { TrustStore } from '../../trust/identity.js';
import { knockNames, knockRoots } from '../../trust/knock-roots.js';
import {
  checkQuicKey,
  checkTlsMaterial,
  type TlsInput,
  tlsInputOf,
} from '../../trust/tls-material.js';
import { ETHERNET_DATAGRAM_BYTES } from '../io/packet.js';
import { nativeConfigOf, type QuicTuning } from './config.js';
import type { NativeConfig, NativeQuic } from './native.js';

export interface CredentialsTuning
  extends Omit<QuicTuning, 'role' | 'maxDatagramBytes' | 'isPaced' | 'ticketKey'> {
  /** How long one key encrypts this side's session tickets. `undefined`: no session is resumed with early data. */
  readonly ticketKeyLifetimeMs: number | undefined;
  readonly knocking: Knocking;
}

/** BoringSSL takes a name, an AES key and an HMAC key, of 16 bytes each. */
const TICKET_KEY_BYTES = 48;

/**
 * The key that encrypts session tickets. It never leaves the process. So no later process can decrypt early data of this one,
 * and that is needed: the nonces that guard against replays are gone with the process, too.
 */
class TicketKey {
  readonly bytes = randomBytes(TICKET_KEY_BYTES);
  readonly #madeAtMs = performance.now();

  isOlderThan(ms: number): boolean {
    return performance.now() - this.#madeAtMs > ms;
  }
}

/**
 * What one set of certificates is turned into: roots to trust, native configurations by datagram size, and the key of
 * session tickets.
 */
export class Credentials {
  readonly tls: TlsMaterial;
  readonly trust: TrustStore;
  readonly knocks: Knocks;
  readonly #native: NativeQuic;
  readonly #input: TlsInput;
  readonly #tuning: CredentialsTuning;
  /** Configurations by role, the largest datagram, whether the peer takes larger ones, and whether packets are paced. */
  readonly #configs = new Map<string, NativeConfig>();
  readonly #fingerprint: string;
  #ticketKey: TicketKey;

  /**
   * @param previous the credentials in force until now; their ticket key is kept unless CA or certificate have changed
   * @throws MeshError InvalidOptions when certificates or key cannot be read
   */
  constructor(
    native: NativeQuic,
    tls: TlsMaterial,
    tuning: CredentialsTuning,
    previous: Credentials | undefined,
  ) {
    const { trust, key } = checkTlsMaterial(tls);
    checkQuicKey(key);
    this.tls = tls;
    this.trust = trust;
    this.#input = tlsInputOf(tls);
    this.knocks = knocksOf(tls, tuning.knocking);
    this.#native = native;
    this.#tuning = tuning;
    this.#fingerprint = createHash('sha256')
      .update(tls.ca)
      .update('\0')
      .update(tls.cert)
      .digest('hex');
    const isSame = previous !== undefined && previous.#fingerprint === this.#fingerprint;
    this.#ticketKey = isSame ? previous.#ticketKey : new TicketKey();
    this.configFor('acceptor', ETHERNET_DATAGRAM_BYTES, false, true);
  }

  /** The key for sessions with a node, given in canonical spelling. It covers CA and certificate: with others, a session must not be resumed. */
  sessionKey(nodeId: string): string {
    return `${nodeId} ${this.#fingerprint}`;
  }

  /** @param takesSmall the peer takes no larger datagrams than links carry, which bounds the unit of the congestion window */
  configFor(
    role: Role,
    maxDatagramBytes: number,
    takesSmall: boolean,
    isPaced: boolean,
  ): NativeConfig {
    const key = `${role} ${maxDatagramBytes} ${takesSmall} ${isPaced}`;
    const { ticketKeyLifetimeMs, knocking: _, ...tuning } = this.#tuning;
    if (ticketKeyLifetimeMs !== undefined && this.#ticketKey.isOlderThan(ticketKeyLifetimeMs)) {
      this.#ticketKey = new TicketKey();
      this.#configs.clear();
    }
    let config = this.#configs.get(key);
    if (config === undefined) {
      const ticketKey = ticketKeyLifetimeMs === undefined ? undefined : this.#ticketKey.bytes;
      config = nativeConfigOf(this.#native, this.#input, {
        ...tuning,
        role,
        maxDatagramBytes,
        isPaced,
        ticketKey,
        // The binding reduces the unit to what the peer takes, but not all that it derives from it.
        initialWindowBytes: takesSmall ? 0 : tuning.initialWindowBytes,
      });
      this.#configs.set(key, config);
    }
    return config;
  }
}

function knocksOf(tls: TlsMaterial, { cluster, nodeId, secrets }: Knocking): Knocks {
  const nodeIds = knockNames(tls, nodeId);
  return new Knocks({ transport: 'quic', cluster, nodeIds, secrets, roots: knockRoots(tls) });
}
