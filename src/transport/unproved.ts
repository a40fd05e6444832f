/**
 * What a dial makes of failures before the other end has proved who it is. Anybody on the path can write an alert or a
 * close by then, in whatever name (RFC 9001, section 7; RFC 8446, section 6). So none of them is the peer's answer: the peer
 * was not reached, and the next transport is tried. SPEC.md, "Alerts".
 */
import { asMeshError, isAboutCertificate, isUnreached, MeshError } from '../errors.js';

/**
 * The error of a dial that failed before the other end had proved to be the peer. This side's own findings about its
 * certificates stay what they are; whatever else is no failure to reach a peer becomes one, with the reason in text and cause.
 */
export function unprovedFailure(error: MeshError): MeshError {
  const { code, side, message } = error;
  if (isUnreached(code) && code !== 'TransportUnavailable') return error;
  if (side === 'local' && isAboutCertificate(code)) return error;
  const how = side === 'remote' ? 'somebody answered' : 'something else came';
  const text = `the peer was not reached: ${how} before it proved who it is: ${message.trim()} (${code})`;
  return new MeshError('ConnectFailed', text, { cause: error });
}

/** How much a failed dial tells: the peer's own answer most, then this side's finding, an answer of anybody, and silence. */
export function tellingOf(error: MeshError): number {
  if (!isUnreached(error.code)) return error.side === 'remote' ? 3 : 2;
  return error.code === 'ConnectFailed' && asMeshError(error.cause) !== undefined ? 1 : 0;
}
