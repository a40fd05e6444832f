/** Checks who is at the other end of a TLS socket, and tells a refused peer why. */
import type { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { MeshError } from '../../errors.js';
import { encodeReset } from '../../protocol/control.js';
import { encodeFrame, FrameFlag } from '../../protocol/frame.js';
import { ALPN_PROTOCOL, type PeerIdentity, type Role } from '../connection.js';
import { lingerClose } from '../mux/linger.js';
import { isChainTooLarge } from '../trust/chain-size.js';
import type { TrustStore } from '../trust/identity.js';

/**
 * Checks a peer after its TLS handshake. Node is told to accept every certificate (`rejectUnauthorized: false`): it would drop
 * the socket without telling the peer why. This check is the same on both transports.
 * @throws MeshError ApplicationProtocolMismatch, a Certificate* code
 */
export function identifyPeer(socket: TLSSocket, trust: TrustStore, peerRole: Role): PeerIdentity {
  if (socket.alpnProtocol !== ALPN_PROTOCOL) {
    throw new MeshError('ApplicationProtocolMismatch', `peer does not speak ${ALPN_PROTOCOL}`);
  }
  return trust.verify(chainOf(socket), peerRole, Date.now());
}

/** Refuses a peer with a close frame that tells it the code, and ends the socket. */
export function refusePeer(duplex: Duplex, error: MeshError): void {
  const payload = encodeReset({ code: error.code, reason: error.message });
  duplex.on('error', () => {});
  duplex.write(encodeFrame({ control: FrameFlag.reset, messageId: 0, payload, checksum: true }));
  lingerClose(duplex);
}

/**
 * The peer's chain in DER, leaf first, as it came. Call it once: Node then forgets the chain. Certificates beyond what is taken are
 * left out, but for the first of them.
 */
function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate: X509Certificate | undefined = socket.getPeerX509Certificate();
  while (certificate !== undefined && !isChainTooLarge(chain)) {
    const { raw, issuerCertificate }: X509Certificate = certificate;
    chain.push(raw);
    certificate = issuerCertificate;
  }
  return chain;
}
