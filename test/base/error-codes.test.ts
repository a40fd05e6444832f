/** The table of codes, a column at a time: what each decides has grown, and nothing else may come to go by it unseen. */
import test from 'ava';
import {
  codeOfWire,
  ERROR_CODES,
  isAboutCertificate,
  isErrorCode,
  isLoss,
  isNeverExecuted,
  isOffenceCode,
  isOrderly,
  isOwnFault,
  isRefusalCode,
  isRetryable,
  isUnreached,
  isViolation,
  isWireErrorCode,
  type MeshErrorCode,
  wireCodeOf,
} from '../../src/base/error-codes.js';

const CODES = Object.keys(ERROR_CODES) as MeshErrorCode[];

const VIOLATIONS: readonly MeshErrorCode[] = [
  'VersionUnsupported',
  'ProtocolViolation',
  'ChecksumMismatch',
  'FrameTooLarge',
  'UnsupportedCompression',
  'FlowControlViolation',
  'StreamLimitExceeded',
  'Overloaded',
];

const CERTIFICATES: readonly MeshErrorCode[] = [
  'CertificateRequired',
  'CertificateUntrusted',
  'CertificateExpired',
  'CertificateNotYetValid',
  'CertificateNameMismatch',
  'CertificateUsage',
  'CertificateInvalid',
  'CertificateRevoked',
];

const LOCAL: readonly MeshErrorCode[] = [
  'InvalidOptions',
  'InvalidArgument',
  'NodeClosed',
  'MigrationFailed',
  'Superseded',
];

interface Column {
  readonly title: string;
  readonly says: (code: MeshErrorCode) => boolean;
  readonly codes: readonly MeshErrorCode[];
}

const COLUMNS: readonly Column[] = [
  {
    title: 'travels on the wire',
    says: isWireErrorCode,
    codes: CODES.filter((code) => !LOCAL.includes(code)),
  },
  {
    title: 'is retryable',
    says: isRetryable,
    codes: [
      'NoError',
      'InternalError',
      'ChecksumMismatch',
      'StreamLimitExceeded',
      'IdleTimeout',
      'ConnectTimeout',
      'ConnectFailed',
      'ConnectionLost',
      'ConnectionClosed',
      'GoingAway',
      'ConnectionLimitExceeded',
      'HandshakeTimeout',
      'DeadlineExceeded',
      'Overloaded',
      'StreamReset',
      'MigrationFailed',
    ],
  },
  {
    title: 'says that no handler ran',
    says: isNeverExecuted,
    codes: [
      'NoHandler',
      'UnknownMessageType',
      'MalformedMessage',
      'Overloaded',
      'GoingAway',
      'CapabilityMissing',
      'Unauthorized',
    ],
  },
  { title: 'is a violation of the peer', says: isViolation, codes: VIOLATIONS },
  {
    title: 'counts as an offence',
    says: isOffenceCode,
    codes: [...VIOLATIONS, 'HandshakeRepeated'],
  },
  {
    title: 'is the refusal of an acceptor',
    says: isRefusalCode,
    codes: [
      ...CERTIFICATES,
      'ApplicationProtocolMismatch',
      'ConnectionLimitExceeded',
      'VersionUnsupported',
      'ClusterMismatch',
      'NodeIdMismatch',
      'AuthTokenRejected',
      'NonceReplayed',
      'ClockSkew',
      'HandshakeTimeout',
      'HandshakeRequired',
      'MalformedMessage',
    ],
  },
  {
    title: 'is the loss of a connection',
    says: isLoss,
    codes: [
      'ConnectionLost',
      'IdleTimeout',
      'ConnectTimeout',
      'ConnectFailed',
      'HandshakeTimeout',
      'GoingAway',
    ],
  },
  {
    title: 'leaves the peer unreached',
    says: isUnreached,
    codes: ['ConnectTimeout', 'ConnectFailed', 'ConnectionLost', 'TransportUnavailable'],
  },
  { title: 'ends a connection in good order', says: isOrderly, codes: ['NoError', 'GoingAway'] },
  {
    title: "is this side's own fault",
    says: isOwnFault,
    codes: ['InvalidArgument', 'InvalidOptions', 'NodeClosed', 'TransportUnavailable'],
  },
  { title: 'judges a certificate', says: isAboutCertificate, codes: CERTIFICATES },
];

for (const { title, says, codes } of COLUMNS) {
  test(`which code ${title}`, (t) => {
    t.deepEqual(CODES.filter((code) => says(code)).sort(), [...codes].sort());
  });
}

test('every column of the table is among these', (t) => {
  const columns = new Set(CODES.flatMap((code) => Object.keys(ERROR_CODES[code])));
  columns.delete('wire');
  // Whether a code travels goes by its number, and has no column.
  t.is(columns.size, COLUMNS.length - 1);
});

test('numbers are told apart, and lead back to their codes where they travel', (t) => {
  t.is(new Set(CODES.map((code) => ERROR_CODES[code].wire)).size, CODES.length);
  for (const code of CODES) {
    const travels = isWireErrorCode(code);
    t.is(codeOfWire(ERROR_CODES[code].wire), travels ? code : undefined);
    t.is(wireCodeOf(code), ERROR_CODES[travels ? code : 'InternalError'].wire);
  }
});

for (const name of ['NoSuchCode', 'constructor', '__proto__', '']) {
  test(`a code that is in no table is nothing that the table says: '${name}'`, (t) => {
    t.false(isErrorCode(name));
    t.false(isWireErrorCode(name));
    for (const { title, says } of COLUMNS) {
      if (says !== isRetryable) t.false(says(name as MeshErrorCode), title);
    }
  });
}
