/**
 * What is compared: ways of sending bytes from one process to another and back. Each has a server's part and a
 * client's part, which run in processes of their own.
 */
import type { TlsMaterial } from '../../../src/index.js';

/** The names in the certificates of the two processes. */
export const SERVER_NAME = 'server';
export const CLIENT_NAME = 'client';

/** Every contender's body of an upload comes in pieces of this size. */
export const PIECE_BYTES = 64 * 1024;

export interface ContenderOptions {
  /** The server's address, for both sides: numeric. */
  readonly host: string;
  readonly tls: Pick<TlsMaterial, 'ca' | 'cert' | 'key'>;
  /** Largest datagram, where there are datagrams; by default large on loopback and 1350 elsewhere. */
  readonly maxDatagramBytes?: number | undefined;
}

export interface Contender {
  /** Listens on a port of the system's choice; answers echoes and takes uploads until it is closed. */
  serve(options: ContenderOptions): Promise<Server>;
  /** What all connections of a client's process share: a socket, a TLS context, a node. */
  createDialer(options: ContenderOptions & { readonly port: number }): Promise<Dialer>;
}

export interface Server {
  readonly port: number;
  close(): Promise<void>;
}

export interface Dialer {
  /** Opens one more connection, with certificates checked on both sides. */
  connect(): Promise<Client>;
  /** Makes ready for a connection and its first call at once; without it they are made one after the other. */
  prepareFirstCall?(history: History): Promise<FirstCall>;
  /** Closes every connection. */
  close(): Promise<void>;
}

/** Whether a first call may build on what a former connection to the same server has left. */
export type History = 'cold' | 'resumed';

export interface FirstCall {
  /** Opens the connection, and gives back the bytes that it sends as early as is safe. To be called once. */
  echo(payload: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** One connection. */
export interface Client {
  /** Sends bytes and gives back those that come in return. May be called again before the last is done. */
  echo(payload: Uint8Array): Promise<Uint8Array>;
  /** Sends as many bytes one way; fulfils when the server has said that it has counted them all. */
  upload(totalBytes: number): Promise<void>;
  /** What keeps a leader in office: a small message, answered at once. Default: an echo of as many bytes. */
  heartbeat?(): Promise<unknown>;
  /** The same in two copies, of which either will do. */
  heartbeatTwice?(): Promise<unknown>;
  /** Carries bytes one way until the signal fires. @returns how many its receiver has counted */
  saturate?(direction: 'upload' | 'download', signal: AbortSignal): Promise<number>;
}
