/**
 * The handshake above TLS: which node of which cluster is calling, and with which version and capabilities.
 * SPEC.md, "Handshake". Pure: the caller brings clock, nonce and session id, and carries the messages.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isWireErrorCode, MeshError, type MeshErrorCode } from '../errors.js';
import { type ConnectionClass, connectionClassOf } from './connection-class.js';
import { WIRE_VERSION } from './frame.js';
import type { Capabilities, HandshakeRequest, HandshakeResponse } from './message.js';
import { canonicalNodeId, quote, sameNodeId } from './node-id.js';
import type { ReplayGuard } from './replay-guard.js';

/** Wire versions that this code speaks, best first. */
export const SUPPORTED_VERSIONS: readonly number[] = [WIRE_VERSION];

/** What one side says about itself in every handshake. */
export interface HandshakeConfig {
  readonly nodeId: string;
  readonly cluster: string;
  readonly capabilities: Capabilities;
  /** Default {@link SUPPORTED_VERSIONS}. */
  readonly versions?: readonly number[];
  /** A secret of the cluster that is shown to acceptors. Without `verifyToken`, dialers must show the same one. */
  readonly authToken?: string;
  /** Decides whether the token of a dialer whose certificate names `nodeId` is accepted. A throw refuses it. */
  readonly verifyToken?: (token: string | undefined, nodeId: string) => boolean;
  /** What a dialer wants the connection for. Default `calls`. */
  readonly connectionClass?: ConnectionClass;
  /**
   * How many bytes a dialer adds to its request and wants back in the answer, so that both fill packets of full size. Default
   * none. SPEC.md, "Full segments".
   */
  readonly padBytes?: number;
}

/** What both sides have agreed after an accepted handshake. */
export interface Negotiated {
  readonly version: number;
  /** In its canonical spelling, however the peer spelled it. */
  readonly peerNodeId: string;
  /** What both sides have: capabilities, compressions, the smaller message limit; and checksums if either side wants them. */
  readonly capabilities: Capabilities;
  /** Streams that this side may have open towards the peer. */
  readonly maxOutgoingStreams: number;
  /** Streams that the peer may have open towards this side. */
  readonly maxIncomingStreams: number;
  readonly sessionId: Uint8Array;
  /** `bulk` where the dialer asked for that, and the acceptor knows it. */
  readonly connectionClass: ConnectionClass;
}

/** States of one side's handshake, each with its data. */
export type HandshakeState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'requested' }
  | { readonly kind: 'accepted'; readonly negotiated: Negotiated }
  | { readonly kind: 'refused'; readonly code: MeshErrorCode };

/** The kinds of {@link HandshakeState}. */
export type HandshakeStateKind = HandshakeState['kind'];

const TRANSITIONS: Readonly<Record<HandshakeStateKind, readonly HandshakeStateKind[]>> = {
  idle: ['requested', 'refused'],
  requested: ['accepted', 'refused'],
  accepted: [],
  refused: [],
};

/**
 * The next state.
 * @throws MeshError HandshakeRepeated, with the state left as it was
 */
export function nextHandshakeState(from: HandshakeState, to: HandshakeState): HandshakeState {
  if (!TRANSITIONS[from.kind].includes(to.kind)) {
    throw new MeshError('HandshakeRepeated', `handshake cannot go from ${from.kind} to ${to.kind}`);
  }
  return to;
}

/** The dialer's request. `nonce` is 16 random bytes that are used once. */
export function createHandshakeRequest(
  config: HandshakeConfig,
  nowMs: number,
  nonce: Uint8Array,
): HandshakeRequest {
  return {
    type: 'handshakeRequest',
    versions: config.versions ?? SUPPORTED_VERSIONS,
    nodeId: config.nodeId,
    cluster: config.cluster,
    capabilities: config.capabilities,
    timestampMs: nowMs,
    nonce,
    ...(config.authToken === undefined ? {} : { authToken: config.authToken }),
    ...named(config.connectionClass),
    ...(config.padBytes === undefined ? {} : { pad: Buffer.alloc(config.padBytes) }),
  };
}

/** What the acceptor needs to judge a request, besides its own config. */
export interface AcceptanceContext {
  /** Node ids that the dialer's certificate proves. */
  readonly certifiedNodeIds: readonly string[];
  readonly nowMs: number;
  /** A clock that nobody sets, by which nonces grow old. Default: `nowMs`. */
  readonly monotonicMs?: number | undefined;
  readonly replayGuard: ReplayGuard;
  /** Why the acceptor takes no connection of that dialer now; `undefined` if it does. Gets the canonical node id. */
  readonly refusalOf?: ((nodeId: string) => MeshError | undefined) | undefined;
  /** 16 random bytes. */
  readonly sessionId: Uint8Array;
}

/** The acceptor's decision, with the answer to send. */
export type HandshakeVerdict =
  | {
      readonly kind: 'accepted';
      readonly response: HandshakeResponse;
      readonly negotiated: Negotiated;
    }
  | { readonly kind: 'refused'; readonly response: HandshakeResponse; readonly error: MeshError };

/** Judges a dialer's request. Public data is checked before secrets. The first check that fails decides the answer. */
export function acceptHandshake(
  request: HandshakeRequest,
  config: HandshakeConfig,
  context: AcceptanceContext,
): HandshakeVerdict {
  const judged = judge(request, config, context);
  if (typeof judged !== 'string') {
    const { code, message } = judged;
    return {
      kind: 'refused',
      error: judged,
      response: {
        type: 'handshakeResponse',
        accepted: false,
        nodeId: config.nodeId,
        code,
        text: message,
      },
    };
  }
  const version = bestVersion(request.versions, config) as number;
  const capabilities = negotiateCapabilities(config.capabilities, request.capabilities);
  const connectionClass = connectionClassOf(request);
  return {
    kind: 'accepted',
    response: {
      type: 'handshakeResponse',
      accepted: true,
      nodeId: config.nodeId,
      version,
      capabilities,
      sessionId: context.sessionId,
      ...named(connectionClass),
      ...(request.pad === undefined ? {} : { pad: request.pad }),
    },
    negotiated: {
      version,
      peerNodeId: judged,
      capabilities,
      maxOutgoingStreams: request.capabilities.maxStreams,
      maxIncomingStreams: config.capabilities.maxStreams,
      sessionId: context.sessionId,
      connectionClass,
    },
  };
}

/** What the dialer needs to judge an answer. */
export interface ResponseContext {
  /** Node ids that the acceptor's certificate proves. */
  readonly certifiedNodeIds: readonly string[];
  /** The node that was dialed, where the dialer knows it. */
  readonly expectedNodeId?: string | undefined;
}

/**
 * Judges an acceptor's answer.
 * @throws MeshError with the acceptor's code and side `remote` for a refusal; with side `local` when the
 *   answer itself cannot be accepted
 */
export function completeHandshake(
  response: HandshakeResponse,
  config: HandshakeConfig,
  context: ResponseContext,
): Negotiated {
  if (!response.accepted) throw refusalOf(response);
  const { version, capabilities, sessionId, nodeId } = response;
  if (version === undefined || capabilities === undefined || sessionId === undefined) {
    throw new MeshError(
      'MalformedMessage',
      'accepted handshake without version, capabilities or session id',
    );
  }
  const tooLittle = limitRefusal(capabilities);
  if (tooLittle !== undefined) throw tooLittle;
  if (!(config.versions ?? SUPPORTED_VERSIONS).includes(version)) {
    throw new MeshError(
      'VersionUnsupported',
      `acceptor chose version ${version}, which was not offered`,
    );
  }
  const peerNodeId = certifiedId(nodeId, context.certifiedNodeIds);
  if (peerNodeId === undefined) throw notCertified(nodeId);
  const { expectedNodeId } = context;
  if (expectedNodeId !== undefined && !sameNodeId(peerNodeId, expectedNodeId)) {
    throw new MeshError('NodeIdMismatch', `dialed ${quote(expectedNodeId)}, reached ${peerNodeId}`);
  }
  const { padBytes = 0 } = config;
  if ((response.pad?.length ?? 0) < padBytes) {
    throw new MeshError('CapabilityMissing', `acceptor did not send ${padBytes} bytes back`);
  }
  const ours = config.capabilities;
  return {
    version,
    peerNodeId,
    // The answer is checked against the offer: an acceptor cannot agree to what was never offered.
    capabilities: negotiateCapabilities(capabilities, ours),
    maxOutgoingStreams: capabilities.maxStreams,
    maxIncomingStreams: ours.maxStreams,
    sessionId,
    // An acceptor cannot make of a connection what the dialer did not ask for.
    connectionClass: config.connectionClass === 'bulk' ? connectionClassOf(response) : 'calls',
  };
}

/** The field of a message that names a class; none for an ordinary connection. */
function named(connectionClass: ConnectionClass = 'calls'): { connectionClass?: string } {
  return connectionClass === 'calls' ? {} : { connectionClass };
}

/** What two sides have in common; see {@link Negotiated}. `maxStreams` is the first side's own. */
export function negotiateCapabilities(ours: Capabilities, theirs: Capabilities): Capabilities {
  const isRedundant = ours.redundancy === true && theirs.redundancy === true;
  return {
    query: ours.query && theirs.query,
    replication: ours.replication && theirs.replication,
    consensus: ours.consensus && theirs.consensus,
    dataTransfer: ours.dataTransfer && theirs.dataTransfer,
    maxStreams: ours.maxStreams,
    maxMessageBytes: Math.min(ours.maxMessageBytes, theirs.maxMessageBytes),
    compressions: ours.compressions.filter((name) => theirs.compressions.includes(name)),
    checksum: ours.checksum || theirs.checksum,
    // Who does not know of it is not told of it.
    ...(isRedundant ? { redundancy: true } : {}),
  };
}

/** @returns the dialer's node id in its canonical spelling, or why it is refused */
function judge(
  request: HandshakeRequest,
  config: HandshakeConfig,
  context: AcceptanceContext,
): string | MeshError {
  const tooLittle = limitRefusal(request.capabilities);
  if (tooLittle !== undefined) return tooLittle;
  if (bestVersion(request.versions, config) === undefined) {
    const spoken = (config.versions ?? SUPPORTED_VERSIONS).join(', ');
    return new MeshError(
      'VersionUnsupported',
      `versions ${request.versions.join(', ')} offered, this side speaks ${spoken}`,
    );
  }
  if (request.cluster !== config.cluster) {
    return new MeshError('ClusterMismatch', 'the two sides belong to different clusters');
  }
  const nodeId = certifiedId(request.nodeId, context.certifiedNodeIds);
  if (nodeId === undefined) return notCertified(request.nodeId);
  if (sameNodeId(nodeId, config.nodeId)) {
    return new MeshError('NodeIdMismatch', `dialer claims ${nodeId}, which is this node`);
  }
  if (!isTokenGood(request.authToken, nodeId, config)) {
    return new MeshError('AuthTokenRejected', 'auth token is missing or wrong');
  }
  // The guard is asked last, so that only requests which would otherwise be accepted take room in it.
  return context.refusalOf?.(nodeId) ?? replayRefusal(request, context) ?? nodeId;
}

/** With a smaller limit not even an error message would fit. */
const MIN_MESSAGE_BYTES = 4096;

function limitRefusal({ maxMessageBytes, maxStreams }: Capabilities): MeshError | undefined {
  if (maxMessageBytes >= MIN_MESSAGE_BYTES && maxStreams >= 1) return undefined;
  const text = `limits of ${maxMessageBytes} bytes and ${maxStreams} streams are too small`;
  return new MeshError('MalformedMessage', text);
}

function replayRefusal(
  request: HandshakeRequest,
  { replayGuard, nowMs, monotonicMs }: AcceptanceContext,
): MeshError | undefined {
  const { nonce, timestampMs, nodeId } = request;
  switch (replayGuard.check(nonce, timestampMs, nowMs, nodeId, monotonicMs)) {
    case 'fresh':
      return undefined;
    case 'replayed':
      return new MeshError('NonceReplayed', 'handshake nonce was seen before');
    case 'outsideWindow':
      return new MeshError(
        'ClockSkew',
        'handshake timestamp is too far from the clock of this side',
      );
    case 'full':
      return new MeshError('Overloaded', 'too many handshakes within the timestamp window');
  }
}

function bestVersion(offered: readonly number[], config: HandshakeConfig): number | undefined {
  const common = (config.versions ?? SUPPORTED_VERSIONS).filter((version) =>
    offered.includes(version),
  );
  return common.length === 0 ? undefined : Math.max(...common);
}

function isTokenGood(shown: string | undefined, nodeId: string, config: HandshakeConfig): boolean {
  const { authToken: demanded, verifyToken } = config;
  if (verifyToken === undefined) {
    return demanded === undefined || sameToken(shown, demanded);
  }
  try {
    // Anything but `true` refuses the token, a promise included.
    return (verifyToken(shown, nodeId) as unknown) === true;
  } catch {
    // The thrown value is dropped: its text may quote the token.
    return false;
  }
}

/** Compares two secrets by their digests, so that the time taken reveals neither length nor content. */
export function sameToken(shown: string | undefined, demanded: string): boolean {
  return timingSafeEqual(digest(shown ?? ''), digest(demanded)) && shown !== undefined;
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** The canonical spelling of a claimed node id, if a certificate names it. What is no node id is named by none. */
function certifiedId(claimed: string, certified: readonly string[]): string | undefined {
  const id = canonicalNodeId(claimed);
  return id !== undefined && certified.some((name) => sameNodeId(name, id)) ? id : undefined;
}

function notCertified(claimed: string): MeshError {
  const text = `certificate does not name node ${quote(claimed)}`;
  return new MeshError('CertificateNameMismatch', text);
}

function refusalOf(response: HandshakeResponse): MeshError {
  const code =
    response.code !== undefined && isWireErrorCode(response.code) ? response.code : 'ConnectFailed';
  return new MeshError(code, response.text ?? 'handshake refused', { side: 'remote' });
}
