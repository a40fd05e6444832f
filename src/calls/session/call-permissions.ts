/** Which calls the two nodes of a session may make to each other. */
import { MeshError } from '../../errors.js';
import type { Capabilities, Message } from '../../protocol/message.js';
import type { Connection } from '../../transport/connection.js';
import type { HandledMessages, HandlerKind } from '../types.js';
import {
  type Authorize,
  type AuthorizeFailureListener,
  authorizationRefusal,
  type CallingPeer,
} from './authorize.js';

/** The capability that each kind of message needs on both sides. */
const NEEDED: Readonly<
  Partial<Record<Message['type'], 'query' | 'replication' | 'consensus' | 'dataTransfer'>>
> = {
  queryRequest: 'query',
  replicationLog: 'replication',
  consensus: 'consensus',
  dataTransfer: 'dataTransfer',
};

export interface CallPermissionsOptions {
  readonly connection: Connection;
  readonly peerNodeId: string;
  readonly capabilities: Capabilities;
  readonly authorize?: Authorize | undefined;
  readonly onAuthorizeFailure?: AuthorizeFailureListener | undefined;
}

/** Who the peer is, what both sides can do, and what the application lets the peer do. */
export class CallPermissions {
  readonly #connection: Connection;
  readonly #authorize: Authorize | undefined;
  readonly #onAuthorizeFailure: AuthorizeFailureListener;
  #peer: { readonly nodeId: string };
  #capabilities: Capabilities;
  /** What `authorize` is told; made when it is first asked. */
  #callingPeer: CallingPeer | undefined;

  constructor(options: CallPermissionsOptions) {
    this.#connection = options.connection;
    this.#authorize = options.authorize;
    this.#onAuthorizeFailure = options.onAuthorizeFailure ?? (() => {});
    this.#peer = Object.freeze({ nodeId: options.peerNodeId });
    this.#capabilities = options.capabilities;
  }

  get peer(): { readonly nodeId: string } {
    return this.#peer;
  }

  /** Whether the peer runs a call once that comes twice. */
  get hasRedundancy(): boolean {
    return this.#capabilities.redundancy === true;
  }

  /** The handshake has settled who the peer is, and what both sides can do. */
  agree(peerNodeId: string, capabilities: Capabilities): void {
    this.#peer = Object.freeze({ nodeId: peerNodeId });
    this.#capabilities = capabilities;
  }

  /** Why the two nodes do not exchange such messages; `undefined` when they do. */
  capabilityRefusal(type: Message['type']): MeshError | undefined {
    const needed = NEEDED[type];
    if (needed === undefined || this.#capabilities[needed]) return undefined;
    const text = `${this.#peer.nodeId} and this node do not share ${needed}`;
    return new MeshError('CapabilityMissing', text);
  }

  /** Why the peer may not make that call; `undefined` when it may. */
  authorizationRefusal(message: HandledMessages[HandlerKind]): MeshError | undefined {
    const authorize = this.#authorize;
    if (authorize === undefined) return undefined;
    this.#callingPeer ??= callingPeerOf(this.#peer.nodeId, this.#connection);
    return authorizationRefusal(authorize, this.#callingPeer, message, this.#onAuthorizeFailure);
  }
}

function callingPeerOf(nodeId: string, { peerIdentity, transport }: Connection): CallingPeer {
  const { nodeIds, fingerprint256, keyFingerprint256, validToMs } = peerIdentity;
  const certificate = Object.freeze({ nodeIds, fingerprint256, keyFingerprint256, validToMs });
  return Object.freeze({ nodeId, certificate, transport });
}
