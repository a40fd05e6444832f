/** What a case of the corpus is: hostile input as data, and what is to become of it. */
import { X509Certificate } from 'node:crypto';
import type { MeshErrorCode } from '../../src/errors.js';
import type { NodeOptions } from '../../src/index.js';
import type { HandshakeRequest } from '../../src/protocol/message.js';
import type { TlsMaterial } from '../../src/transport/connection.js';
import { nodeCert, type TestNodeId } from '../helpers/certs.js';
import type { TestTransport } from '../helpers/nodes.js';
import type { HostileClient, TlsChanges } from './clients/client.js';
import type { Subject } from './subject.js';

export type Outcome =
  /** Nothing happens: no answer, and whoever sent it can go on. */
  | { readonly kind: 'dropped' }
  /** The call on that message id is answered with an error, and the connection is kept. */
  | { readonly kind: 'refused'; readonly code: MeshErrorCode; readonly on?: number }
  /** One of the calls on those message ids is, whichever comes last. */
  | { readonly kind: 'refusedOne'; readonly code: MeshErrorCode; readonly of: readonly number[] }
  /** The node closes the connection with that code. */
  | { readonly kind: 'closed'; readonly code: MeshErrorCode }
  /** Odd, but within the rules: the call on that message id is answered as any other. */
  | { readonly kind: 'served'; readonly on?: number }
  /** A datagram that RFC 9000 has a stateless answer for. */
  | {
      readonly kind: 'answered';
      readonly by: 'versionNegotiation' | 'retry' | 'statelessReset';
    };

/** Where bytes go. On TCP all of it is the one byte stream. */
export type Place =
  /** The stream of that message id. */
  | number
  /** The dialer's control stream. */
  | 'control'
  /** QUIC only: a stream by its number. */
  | { readonly quicStream: number };

export type Step =
  | {
      readonly do: 'send';
      readonly to: Place;
      readonly bytes: Uint8Array;
      /** QUIC only: the stream ends with it. */
      readonly fin?: boolean;
      /** Every byte for itself, and the node has time to read each. */
      readonly byteByByte?: boolean;
      /** With that, the time between two bytes. Ends early when the node has ended the connection. */
      readonly everyMs?: number;
    }
  /** A handshake request, with those fields instead of good ones. */
  | { readonly do: 'shake'; readonly changes: RequestChanges }
  /** The node has time to read what was sent; the connection has to be open still. */
  | { readonly do: 'pause' }
  /** An answer of any kind on that message id has come. */
  | { readonly do: 'hear'; readonly on: number }
  /** QUIC only: RESET_STREAM or STOP_SENDING with a code of the application. */
  | {
      readonly do: 'shut';
      readonly on: number;
      readonly side: 'sending' | 'receiving';
      readonly code: number;
    }
  | { readonly do: 'hangUp' }
  /** The node ends the connection, in whatever way. */
  | { readonly do: 'await end' }
  /** What no data can say. The outcome is that of the connection that it answers with, if any. */
  | { readonly do: 'run'; readonly program: (scene: Scene) => Promise<HostileClient | void> };

/** Fields of a request; functions are asked when it is sent. `undefined` leaves a field out. */
export type RequestChanges = {
  readonly [K in keyof HandshakeRequest]?: unknown;
} & {
  readonly timestampOffsetMs?: number;
  /** Its stream does not end with it. */
  readonly withoutEnd?: boolean;
};

export interface Scene {
  readonly subject: Subject;
  readonly transport: TestTransport;
  readonly client: HostileClient;
  /** Another connection of the hostile peer, closed after the case. */
  dial(options?: DialOptions): Promise<HostileClient>;
}

export interface DialOptions {
  readonly tls?: () => Promise<TlsMaterial>;
  readonly tlsChanges?: TlsChanges;
  /** How far it goes before the first step. Default `'shaken'`. */
  readonly begin?: Case['begin'];
  /** What the hostile peer offers in the handshake instead of the usual. */
  readonly capabilities?: Partial<HandshakeRequest['capabilities']>;
  /** It dials until it is let in: what the peer may open in a second was used up by the case before. */
  readonly isPatient?: boolean;
}

export interface Case extends DialOptions {
  readonly name: string;
  /** Default both. */
  readonly transports?: readonly TestTransport[];
  /** Options of the node. Nodes are shared by the cases of one profile. */
  readonly profile?: keyof typeof PROFILES;
  /**
   * How far the hostile peer goes by the rules before the first step: TLS alone, or the handshake above it too.
   * `'nowhere'`: TLS itself is to fail. `'stray'`: there is none, but a bare UDP or TCP socket.
   * `'packets'`: TLS, and what is sent are frames of QUIC, a packet each. Default `'shaken'`.
   */
  readonly begin?: 'stray' | 'packets' | 'nowhere' | 'secured' | 'shaken';
  readonly steps: readonly Step[];
  readonly outcome: Outcome;
  /**
   * Path of the node's counter that goes up; `*` sums all that begin so, TRANSPORT stands for the transport's name.
   * Default: that of the outcome, see `runner.ts`. `null`: there is none, because nothing was refused.
   */
  readonly counter?: string | null;
  /** How the call fails that the node has made of the hostile peer, on message id 2. */
  readonly answer?: MeshErrorCode;
}

export interface Family {
  readonly name: string;
  readonly cases: readonly Case[];
}

/** Nodes under test. */
export const PROFILES = {
  plain: {},
  /** It answers strangers. */
  open: { admission: { silent: 'off' } },
  hasty: { timeouts: { handshakeMs: 1000, connectMs: 1000 } },
  noChecksum: { checksum: false },
  token: { auth: { token: 'a secret of the cluster' } },
  partial: {
    capabilities: { query: false, replication: false, consensus: false, dataTransfer: false },
  },
  small: { limits: { messageBytes: 128 * 1024 } },
  oneConnection: { limits: { connectionsPerPeer: 1 } },
  full: { limits: { connections: 3 } },
  fewStreams: { limits: { streams: 2 } },
  slowStreams: { limits: { streamOpensPerSecond: 50 } },
  slowResets: { limits: { streamResetsPerSecond: 20 } },
  fewCalls: { limits: { callsPerPeer: 2 } },
  narrowAdmission: {
    timeouts: { connectMs: 1000 },
    admission: { silent: 'off', maxHalfOpenPerSource: 4, retryThreshold: 1000 },
  },
  retry: { admission: { silent: 'off', retry: 'always' } },
  revoked: { tls: revoking('n3') },
} as const satisfies Record<string, Partial<NodeOptions>>;

/** The node's own certificate, and the word that another's is good no more. */
function revoking(nodeId: TestNodeId): () => Promise<TlsMaterial> {
  return async () => {
    const { cert } = await nodeCert(nodeId);
    return { ...(await nodeCert('n2')), revoked: [new X509Certificate(cert).fingerprint256] };
  };
}
