/**
 * The one table of error codes, and what it says of each. Every decision that goes by a code alone is a column here, so that
 * a new code is judged in one place. `MeshError` and what goes by its side as well are in `errors.ts`.
 */

/** What the table says of one code. A column that is not there is a no. */
interface CodeEntry {
  /**
   * The number that travels in a close, a reset or a refusal. 0x00-0x3f connection, 0x40-0x7f identity and handshake,
   * 0x80-0xef calls. From 0xf0 on codes are for the user of the library, and never travel.
   */
  readonly wire: number;
  /** Trying again later, unchanged, can succeed. */
  readonly retryable: boolean;
  /** As a peer's answer to a call it says that no handler ran. */
  readonly neverExecuted?: true;
  /** A peer broke a rule of the frames: its connection closes with this code. */
  readonly violation?: true;
  /** If this side closes with it, an accepted peer broke a rule. */
  readonly offence?: true;
  /**
   * An acceptor that closes with it never accepted, and so never ran a call. Not set for codes that also close accepted
   * connections: over QUIC the acceptance may have been lost.
   */
  readonly refusal?: true;
  /** It ends a connection, or a dial, without anybody's decision; or the peer shuts down, and is expected back. */
  readonly lost?: true;
  /** A dial did not reach the peer at all: another transport may. Any other code is the peer's answer. */
  readonly unreached?: true;
  /** It ends a connection in good order. */
  readonly orderly?: true;
  /** What is wrong is on this side, whoever answers. */
  readonly ownFault?: true;
  /** It judges a certificate. */
  readonly certificate?: true;
}

/** The table of codes. Numbers are part of wire version 1 and are never reused. SPEC.md, "Error codes". */
export const ERROR_CODES = {
  // The connection as a whole.
  NoError: { wire: 0x00, retryable: true, orderly: true },
  InternalError: { wire: 0x01, retryable: true },
  ProtocolViolation: { wire: 0x02, retryable: false, violation: true, offence: true },
  ChecksumMismatch: { wire: 0x03, retryable: true, violation: true, offence: true },
  FrameTooLarge: { wire: 0x04, retryable: false, violation: true, offence: true },
  UnsupportedCompression: { wire: 0x06, retryable: false, violation: true, offence: true },
  FlowControlViolation: { wire: 0x07, retryable: false, violation: true, offence: true },
  StreamLimitExceeded: { wire: 0x08, retryable: true, violation: true, offence: true },
  IdleTimeout: { wire: 0x09, retryable: true, lost: true },
  ConnectTimeout: { wire: 0x0a, retryable: true, lost: true, unreached: true },
  ConnectFailed: { wire: 0x0b, retryable: true, lost: true, unreached: true },
  ConnectionLost: { wire: 0x0c, retryable: true, lost: true, unreached: true },
  ConnectionClosed: { wire: 0x0d, retryable: true },
  // The peer shuts down, and is expected back.
  GoingAway: { wire: 0x0e, retryable: true, neverExecuted: true, lost: true, orderly: true },
  TransportUnavailable: { wire: 0x0f, retryable: false, unreached: true, ownFault: true },
  TlsFailure: { wire: 0x10, retryable: false },
  ApplicationProtocolMismatch: { wire: 0x11, retryable: false, refusal: true },
  ConnectionLimitExceeded: { wire: 0x12, retryable: true, refusal: true },

  // Identity: certificates and names.
  CertificateRequired: { wire: 0x40, retryable: false, refusal: true, certificate: true },
  CertificateUntrusted: { wire: 0x41, retryable: false, refusal: true, certificate: true },
  CertificateExpired: { wire: 0x42, retryable: false, refusal: true, certificate: true },
  CertificateNotYetValid: { wire: 0x43, retryable: false, refusal: true, certificate: true },
  CertificateNameMismatch: { wire: 0x44, retryable: false, refusal: true, certificate: true },
  CertificateUsage: { wire: 0x45, retryable: false, refusal: true, certificate: true },
  CertificateInvalid: { wire: 0x46, retryable: false, refusal: true, certificate: true },
  CertificateRevoked: { wire: 0x47, retryable: false, refusal: true, certificate: true },

  // The handshake above TLS.
  VersionUnsupported: {
    wire: 0x50,
    retryable: false,
    violation: true,
    offence: true,
    refusal: true,
  },
  ClusterMismatch: { wire: 0x51, retryable: false, refusal: true },
  NodeIdMismatch: { wire: 0x52, retryable: false, refusal: true },
  AuthTokenRejected: { wire: 0x53, retryable: false, refusal: true },
  NonceReplayed: { wire: 0x54, retryable: false, refusal: true },
  ClockSkew: { wire: 0x55, retryable: false, refusal: true },
  HandshakeTimeout: { wire: 0x56, retryable: true, refusal: true, lost: true },
  HandshakeRequired: { wire: 0x57, retryable: false, refusal: true },
  HandshakeRepeated: { wire: 0x58, retryable: false, offence: true },

  // One call or one stream.
  Cancelled: { wire: 0x80, retryable: false },
  DeadlineExceeded: { wire: 0x81, retryable: true },
  NoHandler: { wire: 0x82, retryable: false, neverExecuted: true },
  HandlerFailed: { wire: 0x83, retryable: false },
  UnknownMessageType: { wire: 0x84, retryable: false, neverExecuted: true },
  Overloaded: { wire: 0x85, retryable: true, neverExecuted: true, violation: true, offence: true },
  MessageTooLarge: { wire: 0x86, retryable: false },
  StreamReset: { wire: 0x87, retryable: true },
  UnexpectedMessage: { wire: 0x88, retryable: false },
  CapabilityMissing: { wire: 0x89, retryable: false, neverExecuted: true },
  MalformedMessage: { wire: 0x8a, retryable: false, neverExecuted: true, refusal: true },
  Unauthorized: { wire: 0x8b, retryable: false, neverExecuted: true },

  // Local use of the library; these never travel.
  InvalidOptions: { wire: 0xf0, retryable: false, ownFault: true },
  InvalidArgument: { wire: 0xf1, retryable: false, ownFault: true },
  NodeClosed: { wire: 0xf2, retryable: false, ownFault: true },
  MigrationFailed: { wire: 0xf3, retryable: true },
  Superseded: { wire: 0xf4, retryable: false },
} as const satisfies Record<string, CodeEntry>;

/** A stable name of a failure; see {@link ERROR_CODES}. */
export type MeshErrorCode = keyof typeof ERROR_CODES;

/** Codes from this number on never travel. */
const FIRST_LOCAL = 0xf0;

const entries: Readonly<Record<MeshErrorCode, CodeEntry>> = ERROR_CODES;

const nameByWire: ReadonlyMap<number, MeshErrorCode> = new Map(
  Object.entries(ERROR_CODES)
    .filter(([, { wire }]) => wire < FIRST_LOCAL)
    .map(([name, { wire }]) => [wire, name as MeshErrorCode]),
);

/** Whether a value is the name of a code of this version. */
export function isErrorCode(value: unknown): value is MeshErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_CODES, value);
}

/** Whether a text from the wire names a code of this version that travels. */
export function isWireErrorCode(name: string): name is MeshErrorCode {
  return isErrorCode(name) && entries[name].wire < FIRST_LOCAL;
}

/** The wire number of a code; that of InternalError for one that never travels. */
export function wireCodeOf(code: MeshErrorCode): number {
  const { wire } = entries[code];
  return wire < FIRST_LOCAL ? wire : ERROR_CODES.InternalError.wire;
}

/** The code behind a wire number; `undefined` for numbers this version does not know. */
export function codeOfWire(wire: number): MeshErrorCode | undefined {
  return nameByWire.get(wire);
}

/** Whether trying again later, unchanged, can succeed. */
export function isRetryable(code: MeshErrorCode): boolean {
  return entries[code].retryable;
}

/** Whether a call that a peer answers with this code ran no handler. */
export function isNeverExecuted(code: MeshErrorCode): boolean {
  return says(code, 'neverExecuted');
}

/** Whether the connection of a peer that did this closes with this code. */
export function isViolation(code: MeshErrorCode): boolean {
  return says(code, 'violation');
}

/** Whether this side closes with this code over a peer that it had let in and that broke a rule. */
export function isOffenceCode(code: MeshErrorCode): boolean {
  return says(code, 'offence');
}

/** Whether an acceptor that closes with this code never accepted the connection. */
export function isRefusalCode(code: MeshErrorCode): boolean {
  return says(code, 'refusal');
}

/** Whether a connection or a dial that ends with this code was lost: nobody decided on it, or the peer is expected back. */
export function isLoss(code: MeshErrorCode): boolean {
  return says(code, 'lost');
}

/** Whether a dial that fails with this code did not reach the peer at all. */
export function isUnreached(code: MeshErrorCode): boolean {
  return says(code, 'unreached');
}

/** Whether a connection that closes with this code ends in good order. */
export function isOrderly(code: MeshErrorCode): boolean {
  return says(code, 'orderly');
}

/** Whether what is wrong is on this side, whoever answers. */
export function isOwnFault(code: MeshErrorCode): boolean {
  return says(code, 'ownFault');
}

/** Whether this code judges a certificate. */
export function isAboutCertificate(code: MeshErrorCode): boolean {
  return says(code, 'certificate');
}

/** A transport of the user's own, or another copy of this package, may bring a code that is in no table: that is a no. */
function says(
  code: MeshErrorCode,
  column: Exclude<keyof CodeEntry, 'wire' | 'retryable'>,
): boolean {
  return isErrorCode(code) && entries[code][column] === true;
}
