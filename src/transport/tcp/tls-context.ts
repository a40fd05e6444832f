/** The TLS settings of both sides, from certificates as users bring them. SPEC.md, "TLS". */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { MeshError } from '../../errors.js';
import type { TlsMaterial } from '../connection.js';
import { TrustStore } from '../trust/identity.js';
import { tlsInputOf } from '../trust/tls-material.js';

/** What dials and listeners work with. */
export interface TlsSetup {
  readonly material: TlsMaterial;
  readonly options: SecureContextOptions;
  /** Made from `options`, once for all dials. */
  readonly context: SecureContext;
  /** Judges peers' certificates: node is told to let every one pass, see peer-check.ts. */
  readonly trust: TrustStore;
}

/** @throws MeshError InvalidOptions when the material cannot be read or does not belong together */
export function createTlsSetup(material: TlsMaterial): TlsSetup {
  const options: SecureContextOptions = {
    ...tlsInputOf(material),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // No stateless tickets. Without a session store none of the others resumes either: every connection
    // brings its certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  const trust = TrustStore.of(material);
  try {
    return { material, options, context: createSecureContext(options), trust };
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'tls: certificate and key cannot be used', { cause });
  }
}
