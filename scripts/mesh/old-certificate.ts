/** Dials a node with a certificate that it should not take any more. */
import { createNode, MeshError, type TlsMaterial } from '../../src/index.js';
import type { Target } from './protocol.js';
import { describe } from './workload.js';

export interface OldCertificateVerdict {
  readonly transport: 'quic' | 'tcp';
  /** The code that the peer answered with; `null` where it did not refuse. */
  readonly refusedWith: string | null;
  /** In words, where it was not refused for its certificate. */
  readonly flaw: string | null;
}

export async function tryOldCertificate(options: {
  readonly nodeId: string;
  readonly tls: TlsMaterial;
  readonly target: Target;
  readonly transport: 'quic' | 'tcp';
  readonly limitMs: number;
}): Promise<OldCertificateVerdict> {
  const { nodeId, tls, target, transport, limitMs } = options;
  const node = await createNode({
    nodeId,
    cluster: 'mesh-demo',
    tls,
    transports: [transport],
    logger: 'silent',
  });
  try {
    await node.connect(target, { signal: AbortSignal.timeout(limitMs) });
    return { transport, refusedWith: null, flaw: 'it was let in' };
  } catch (error) {
    if (!(error instanceof MeshError) || error.side !== 'remote') {
      return { transport, refusedWith: null, flaw: describe(error) };
    }
    const flaw = error.code === 'CertificateUntrusted' ? null : describe(error);
    return { transport, refusedWith: error.code, flaw };
  } finally {
    await node.close();
  }
}
