/** Certificates for development and tests, exported as `quicmesh/certs`. */
export {
  type DevCert,
  type DevCertOptions,
  type DevCerts,
  generateDevCerts,
} from './dev-certs.js';
export { type WriteDevCertsOptions, type WrittenDevCerts, writeDevCerts } from './store.js';
