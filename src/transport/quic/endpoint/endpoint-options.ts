/** What an endpoint is given by its transport. */
import type { Alarms } from '../../../base/alarms.js';
import type { Knocks } from '../../admission/knocks.js';
import type { PeerIdentity, SocketAddress, StreamLimits } from '../../connection.js';
import type { PeerRates } from '../../peer-rates.js';
import type { AdmissionLimits } from '../admission/admission-policy.js';
import type { ConnectionKeys } from '../binding/connection-keys.js';
import type { NativeQuic } from '../binding/native.js';
import type { PathMtuLimits } from '../paths/path-mtu.js';
import type { ConfigFor } from './native-connections.js';

export interface EndpointOptions {
  readonly native: NativeQuic;
  /** Deadlines of all connections, of this endpoint and others. */
  readonly alarms: Alarms;
  readonly limits: StreamLimits;
  /** How fast peers open and reset streams, over all endpoints. Default: by `limits`, and the endpoint's own. */
  readonly rates?: PeerRates | undefined;
  /** The time for the handshake of an accepted connection. */
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly idleTimeoutMs: number;
  /** Whether connections may change their paths. */
  readonly migration: boolean;
  /** How many peers may get sockets of their own, where the listening socket is shared; see `peer-sockets.ts`. Default none. */
  readonly peerSockets?: number | undefined;
  /** How many handshakes of dialers may be under way, and when dialers have to prove their address. */
  readonly admission: AdmissionLimits;
  /** The knocks that dialers have to make, by the certificates in force now. `undefined`: everybody is answered. */
  readonly knocks?: (() => Knocks) | undefined;
  /** The private key, in PEM, from which stateless reset tokens are derived. */
  readonly resetKey: string;
  readonly configFor: ConfigFor;
  /** The sizes that datagrams between two addresses may have. */
  readonly datagramLimits: (remote: SocketAddress, local: SocketAddress) => PathMtuLimits;
  /** The congestion window that connections begin with, and do not fall below for want of traffic. */
  readonly initialWindowBytes: number;
  /** Whether packets to this peer wait until they are due, by the stamps of the binding. */
  readonly isPaced: (remote: SocketAddress) => boolean;
  /** Logs the secrets of connections. */
  readonly keys?: ConnectionKeys | undefined;
  /** Checks a dialer's certificates. @throws MeshError with a Certificate* code */
  readonly verifyDialer: (chain: readonly Uint8Array[]) => PeerIdentity;
}
