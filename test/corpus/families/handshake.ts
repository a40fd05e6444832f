/** Requests that an acceptor has to refuse, and what it has to take although it looks odd. */
import type { MeshErrorCode } from '../../../src/errors.js';
import { certNamed, certSpelled } from '../../helpers/certs.js';
import { rowsUnder } from '../../protocol/naive/message.js';
import { capabilities } from '../../protocol/samples.js';
import { END, frameOf, payloadOf, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome, RequestChanges } from '../case.js';

const served: Outcome = { kind: 'served', on: 1 };

function request(name: string, changes: RequestChanges, then: MeshErrorCode | Outcome): Case {
  return {
    name,
    begin: 'secured',
    steps: [{ do: 'shake', changes }],
    outcome: typeof then === 'string' ? { kind: 'closed', code: then } : then,
  };
}

function* judged(): Generator<Case> {
  yield request('a good request', {}, served);
  yield request('another cluster', { cluster: 'another' }, 'ClusterMismatch');
  yield request('the cluster in another case', { cluster: 'TEST' }, 'ClusterMismatch');
  yield request('the cluster with a blank behind it', { cluster: 'test ' }, 'ClusterMismatch');
  yield request('no cluster', { cluster: '' }, 'ClusterMismatch');
  for (const versions of [[], [0], [2], [2, 3, 15], [2 ** 32]]) {
    yield request(`versions ${JSON.stringify(versions)}`, { versions }, 'VersionUnsupported');
  }
  yield request('versions of which one will do', { versions: [9, 1, 2] }, served);
  yield request("another node's id", { nodeId: 'n3' }, 'CertificateNameMismatch');
  yield request('no node id', { nodeId: '' }, 'CertificateNameMismatch');
  yield request("the acceptor's node id", { nodeId: 'n2' }, 'CertificateNameMismatch');
  yield request('a wildcard for a node id', { nodeId: '*' }, 'CertificateNameMismatch');
  yield request('the node id with a dot behind it', { nodeId: 'n4.' }, 'CertificateNameMismatch');
  yield request('the node id and a zero byte', { nodeId: 'n4\0' }, 'CertificateNameMismatch');
  yield request('the node id in another case', { nodeId: 'N4' }, served);
  yield* spelled();
  for (const nodeId of ['n2', 'N2']) {
    yield {
      ...request(
        `the acceptor's own id, ${nodeId}, with a certificate`,
        { nodeId },
        'NodeIdMismatch',
      ),
      tls: () => certNamed('n2'),
    };
  }
  const bad: readonly [string, object][] = [
    ['maxMessageBytes of 4,095', { maxMessageBytes: 4095 }],
    ['maxMessageBytes of 0', { maxMessageBytes: 0 }],
    ['maxStreams of 0', { maxStreams: 0 }],
  ];
  for (const [name, change] of bad) {
    yield request(name, { capabilities: { ...capabilities, ...change } }, 'MalformedMessage');
  }
  const odd: readonly [string, object][] = [
    ['limits of 2^53-1', { maxMessageBytes: 2 ** 53 - 1, maxStreams: 2 ** 53 - 1 }],
    ['compressions that nobody knows', { compressions: ['brotli', '', 'none'] }],
    ['the smallest limits', { maxMessageBytes: 4096, maxStreams: 1 }],
  ];
  for (const [name, change] of odd) {
    yield request(name, { capabilities: { ...capabilities, ...change } }, served);
  }
}

/** Names that look alike, and names that certificates have and nobody can bear. */
function* spelled(): Generator<Case> {
  const cases: readonly (readonly [certified: string, claimed: string, isServed: boolean])[] = [
    ['k3', 'K3', true],
    ['K3', 'k3', true],
    ['K3.Example', 'k3.eXAMPLE', true],
    ['k3', KELVIN_3, false],
    [KELVIN_3, KELVIN_3, false],
    [KELVIN_3, 'k3', false],
    ['*', '*', false],
    ['*', 'k3', false],
    ['*.example', 'k3.example', false],
    ['', '', false],
    ['k3 ', 'k3 ', false],
    ['k3 ', 'k3', false],
    ['k3.', 'k3.', false],
    ['k3.', 'k3', false],
    ['k3\0', 'k3\0', false],
    ['k3\0.evil', 'k3', false],
    ['x, DNS:k3', 'k3', false],
    ['k_3', 'k_3', false],
    ['-k3', '-k3', false],
    ['10.0.0.1', '10.0.0.1', false],
    ['010.0.0.1', '010.0.0.1', false],
  ];
  for (const [certified, nodeId, isServed] of cases) {
    const name = `a certificate for ${JSON.stringify(certified)}, and the node id ${JSON.stringify(nodeId)}`;
    const outcome = isServed ? served : 'CertificateNameMismatch';
    yield { ...request(name, { nodeId }, outcome), tls: () => certSpelled(certified) };
  }
}

const KELVIN_3 = '\u212a3';

function* clocks(): Generator<Case> {
  for (const seconds of [29, -29]) {
    yield request(`a clock ${seconds} s off`, { timestampOffsetMs: seconds * 1000 }, served);
  }
  for (const seconds of [31, -31, 3600, -3600]) {
    yield request(`a clock ${seconds} s off`, { timestampOffsetMs: seconds * 1000 }, 'ClockSkew');
  }
  yield request('a timestamp of 0', { timestampMs: 0 }, 'ClockSkew');
  yield request('a timestamp of 2^53-1', { timestampMs: 2 ** 53 - 1 }, 'ClockSkew');
}

function* tokens(): Generator<Case> {
  const right = 'a secret of the cluster';
  for (const [name, authToken] of [
    ['no token', undefined],
    ['an empty token', ''],
    ['a wrong token', 'a guess'],
    ['a token that lacks its last byte', right.slice(0, -1)],
    ['a token with a byte more', `${right}x`],
    ['a token in another case', right.toUpperCase()],
    ['a token of 4,096 bytes', 'x'.repeat(4096)],
  ] as const) {
    yield { ...request(name, { authToken }, 'AuthTokenRejected'), profile: 'token' };
  }
  yield { ...request('the right token', { authToken: right }, served), profile: 'token' };
  yield request('a token that nobody asked for', { authToken: 'a guess' }, served);
}

/** The same bytes again, from a connection of their own. */
function* replays(): Generator<Case> {
  for (const again of ['at once', 'after the first has gone']) {
    const nonce = Buffer.from(`replayed ${again}`.padEnd(16).slice(-16));
    yield {
      name: `a nonce that was seen, ${again}`,
      begin: 'secured',
      steps: [
        {
          do: 'run',
          program: async ({ dial, transport }) => {
            nonce[0] = transport === 'quic' ? 1 : 2;
            const first = await dial();
            first.shake('n4', { nonce });
            while (!first.answers.has(1)) await new Promise((resolve) => setTimeout(resolve, 1));
            if (again !== 'at once') first.hangUp();
          },
        },
        { do: 'shake', changes: { nonce } },
      ],
      outcome: { kind: 'closed', code: 'NonceReplayed' },
    };
  }
}

function* malformed(): Generator<Case> {
  for (const { name, required } of rowsUnder('### handshakeRequest')) {
    if (required) yield request(`no ${name}`, { [name]: undefined }, 'MalformedMessage');
    yield request(`null for ${name}`, { [name]: null }, 'MalformedMessage');
    yield request(`a list of lists for ${name}`, { [name]: [[]] }, 'MalformedMessage');
  }
  for (const { name, required } of rowsUnder('### Capabilities')) {
    const without: Record<string, unknown> = { ...capabilities, [name]: undefined };
    if (required) {
      yield request(`capabilities without ${name}`, { capabilities: without }, 'MalformedMessage');
    }
    const wrong: Record<string, unknown> = { ...capabilities, [name]: 'yes' };
    yield request(
      `capabilities with text for ${name}`,
      { capabilities: wrong },
      'MalformedMessage',
    );
  }
  for (const bytes of [0, 15, 17, 1000]) {
    yield request(`a nonce of ${bytes} bytes`, { nonce: Buffer.alloc(bytes) }, 'MalformedMessage');
  }
  yield request('17 versions', { versions: Array(17).fill(1) }, 'MalformedMessage');
  yield request('a node id of 254 bytes', { nodeId: 'n'.repeat(254) }, 'MalformedMessage');
  yield request('a cluster of 254 bytes', { cluster: 'c'.repeat(254) }, 'MalformedMessage');
  yield request('a token of 4,097 bytes', { authToken: 'x'.repeat(4097) }, 'MalformedMessage');
  yield request('a version of -1', { versions: [-1] }, 'MalformedMessage');
  yield request('a timestamp of 1.5', { timestampMs: 1.5 }, 'MalformedMessage');
  yield {
    name: 'a request of 16 MiB',
    begin: 'secured',
    steps: [
      {
        do: 'send',
        to: 1,
        bytes: writeFrame(
          END,
          1,
          payloadOf({ type: 'handshakeRequest', x: Buffer.alloc(2 ** 24 - 64) }),
        ),
        fin: true,
      },
    ],
    outcome: { kind: 'closed', code: 'FrameTooLarge' },
  };
  yield {
    name: 'a type in another case',
    begin: 'secured',
    steps: [{ do: 'send', to: 1, bytes: frameOf(1, { type: 'HandshakeRequest' }), fin: true }],
    outcome: { kind: 'closed', code: 'UnknownMessageType' },
  };
}

export const handshake: Family = {
  name: 'handshake',
  cases: [...judged(), ...clocks(), ...tokens(), ...replays(), ...malformed()],
};
