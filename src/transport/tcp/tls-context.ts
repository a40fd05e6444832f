/** Makes the TLS settings of both sides from a node's certificates. SPEC.md, "TLS". */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { MeshError } from '../../errors.js';
import { type Knocking, Knocks } from '../admission/knocks.js';
import type { TlsMaterial } from '../connection.js';
import { TrustStore } from '../trust/identity.js';
import { knockNames, knockRoots } from '../trust/knock-roots.js';
import { checkTlsMaterial, tlsInputOf } from '../trust/tls-material.js';

/**
 * The groups of the key exchange, by preference; QUIC has the same ones. OpenSSL's own list has ffdhe8192 too: 1.2 KB of a recorded
 * ClientHello would cost 150 ms of the event loop each time it is sent, where X25519 costs a millisecond.
 */
const GROUPS = 'X25519:P-256:P-384';

/** The TLS settings that dials and listeners use. */
export interface TlsSetup {
  readonly material: TlsMaterial;
  readonly options: SecureContextOptions;
  /** Created from `options`, once for all dials. */
  readonly context: SecureContext;
  /** Checks peers' certificates. Node is told to accept every one; see peer-check.ts. */
  readonly trust: TrustStore;
  readonly knocks: Knocks;
}

/** @throws MeshError InvalidOptions when the material cannot be read or does not belong together */
export function createTlsSetup(material: TlsMaterial, knocking: Knocking): TlsSetup {
  const options: SecureContextOptions = {
    ...tlsInputOf(material),
    // OpenSSL is given no CA. It would send along what of them leads on from this node's certificate, the root too, from which
    // knocks follow; and it would check chains that are checked here anyway.
    ca: [],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ecdhCurve: GROUPS,
    // No stateless tickets. Stateful ones resume nothing without a session store. So every connection brings its
    // certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  const trust = material.cert === '' ? TrustStore.of(material) : checkTlsMaterial(material).trust;
  const knocks = knocksOf(material, knocking);
  try {
    return { material, options, context: createSecureContext(options), trust, knocks };
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'tls: certificate and key cannot be used', { cause });
  }
}

function knocksOf(tls: TlsMaterial, { cluster, nodeId, secrets }: Knocking): Knocks {
  const nodeIds = knockNames(tls, nodeId);
  return new Knocks({ transport: 'tcp', cluster, nodeIds, secrets, roots: knockRoots(tls) });
}
