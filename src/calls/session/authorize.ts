/** Asks the user's function whether a peer may make a call. Anything but a clear yes is a refusal. */

import { isPromised } from '../../base/realms.js';
import { asMeshError, isWireErrorCode, MeshError, toMeshError } from '../../errors.js';
import type { TransportName } from '../../transport/connection.js';
import type { HandledMessages, HandlerKind } from '../types.js';

/** The node that calls, as its certificate and the handshake proved. */
export interface CallingPeer {
  readonly nodeId: string;
  /**
   * The node ids that the certificate proves, two fingerprints (SHA-256, in hex pairs with colons), and when it expires, in
   * milliseconds since 1970. Decide by `keyFingerprint256`, that of the public key: whoever has a certificate that was signed
   * by ECDSA can make a twin of it that is as good, and has another `fingerprint256`.
   */
  readonly certificate: {
    readonly nodeIds: readonly string[];
    readonly fingerprint256: string;
    readonly keyFingerprint256: string;
    readonly validToMs: number;
  };
  readonly transport: TransportName;
}

/**
 * Decides synchronously whether a peer may make a call. `true` allows it. A returned MeshError refuses it with that error's
 * code, if the code travels, and text. Anything else, including a promise or a throw, refuses it with `Unauthorized`.
 *
 * @param message what the handler would be called with; for a transfer, its first message
 */
export type Authorize = (
  peer: CallingPeer,
  message: HandledMessages[HandlerKind],
) => boolean | MeshError;

/** Told of an `authorize` that threw or returned a promise. */
export type AuthorizeFailureListener = (error: MeshError) => void;

/** Why the peer may not make that call; `undefined` when it may. */
export function authorizationRefusal(
  authorize: Authorize,
  peer: CallingPeer,
  message: HandledMessages[HandlerKind],
  onFailure: AuthorizeFailureListener,
): MeshError | undefined {
  let verdict: unknown;
  try {
    verdict = authorize(peer, message);
  } catch (thrown) {
    onFailure(toMeshError(thrown, 'HandlerFailed'));
  }
  if (verdict === true) return undefined;
  const refusal = asMeshError(verdict);
  if (refusal !== undefined && isWireErrorCode(refusal.code)) return refusal;
  if (isPromised(verdict)) {
    onFailure(new MeshError('HandlerFailed', 'it answered by a promise, which is no answer'));
  }
  return new MeshError('Unauthorized', `${peer.nodeId} may not make this call`);
}
