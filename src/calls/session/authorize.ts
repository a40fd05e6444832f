/** Who may make which call: asks the user's function, whose doubt is a no. */

import { isPromised } from '../../base/realms.js';
import { asMeshError, isWireErrorCode, MeshError, toMeshError } from '../../errors.js';
import type { TransportName } from '../../transport/connection.js';
import type { HandledMessages, HandlerKind } from '../types.js';

/** Who calls, as certificate and handshake proved. */
export interface CallingPeer {
  readonly nodeId: string;
  /** What it has shown: its names, SHA-256 in hex pairs with colons, and until when it is valid. */
  readonly certificate: {
    readonly nodeIds: readonly string[];
    readonly fingerprint256: string;
    readonly validToMs: number;
  };
  readonly transport: TransportName;
}

/**
 * Says at once whether a peer may make a call, by true. A MeshError is a no with its own code, if that travels, and text; anything else, a promise and a throw among it, is a no with `Unauthorized`.
 *
 * @param message what the handler would be called with; of a transfer, its first message
 */
export type Authorize = (
  peer: CallingPeer,
  message: HandledMessages[HandlerKind],
) => boolean | MeshError;

/** Told of a function that did not answer as it should. */
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
