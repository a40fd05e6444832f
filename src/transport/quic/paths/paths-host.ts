/** What the paths of a connection are given. */
import type { PathEvent, Role, SocketAddress } from '../../connection.js';
import type { NativeConnection } from '../binding/native.js';
import type { EndpointCounters } from '../io/counters.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { IdRoutes } from './connection-ids.js';

/** What the paths ask of the endpoint and of the connection itself. */
export interface PathsHost {
  readonly socket: UdpSocket;
  readonly counters: EndpointCounters;
  readonly routes: IdRoutes;
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  closeSocket(socket: UdpSocket): void;
  isListening(socket: UdpSocket): boolean;
  isOpen(): boolean;
  flushSoon(): void;
  /** The peer's datagrams come from another address, or to another socket. */
  arrivalChanged(): void;
  /** Asks the peer to send this nonce back, which calls `proofArrived`. */
  askForProof(nonce: Buffer): void;
  emit(event: PathEvent): void;
}

export interface PathsOptions {
  readonly native: NativeConnection;
  readonly role: Role;
  readonly host: PathsHost;
  readonly remoteAddress: SocketAddress;
  /** Whether the connection may change its path at all. */
  readonly migration: boolean;
}
