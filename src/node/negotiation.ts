/** What this node offers in a handshake, and what a handshake settles. SPEC.md, "Handshake". */
import { handleRejection, isPromised, nameOf } from '../base/realms.js';
import type { SessionAgreement } from '../calls/session/session.js';
import { toMeshError } from '../errors.js';
import { type Algorithm, loadCompression } from '../protocol/compression.js';
import type { HandshakeConfig, Negotiated } from '../protocol/handshake.js';
import type { NodeLog } from '../telemetry/logging.js';
import type { Reports } from '../telemetry/reports.js';
import type { NodeConfig } from './options/resolve.js';

/** Holds the compressions that work here: handshakes offer these, and sessions use those that both sides have. */
export class Negotiation {
  readonly #config: NodeConfig;
  readonly #log: NodeLog;
  readonly #reports: Reports;
  /** Best first. */
  #algorithms: readonly Algorithm[] = [];

  constructor(config: NodeConfig, log: NodeLog, reports: Reports) {
    this.#config = config;
    this.#log = log;
    this.#reports = reports;
  }

  /** Loads the compressions; without one that does not load here, the node goes on. */
  async load(): Promise<void> {
    const loaded: Algorithm[] = [];
    for (const name of this.#config.compression.algorithms) {
      try {
        loaded.push(await loadCompression(name));
      } catch (thrown) {
        this.#log.warn(
          { compression: name },
          `cannot be used here: ${toMeshError(thrown).message}`,
        );
      }
    }
    this.#algorithms = loaded;
  }

  /** This node's side of a handshake. */
  get handshakeConfig(): HandshakeConfig {
    const { nodeId, cluster, auth, capabilities, limits, checksum } = this.#config;
    const { streams: maxStreams, messageBytes: maxMessageBytes } = limits;
    const compressions = this.#algorithms.map(({ name }) => name);
    const frames = { maxStreams, maxMessageBytes, compressions, checksum };
    return {
      nodeId,
      cluster,
      capabilities: { ...capabilities, ...frames, redundancy: true },
      ...(auth?.token === undefined ? {} : { authToken: auth.token }),
      ...(auth?.verify === undefined ? {} : { verifyToken: this.#verifyToken }),
    };
  }

  /** What a session goes by once its handshake is done. */
  agreementOf({ peerNodeId, capabilities, connectionClass }: Negotiated): SessionAgreement {
    const { compressions, maxMessageBytes } = capabilities;
    const agreed = compressions.map((name) =>
      this.#algorithms.find((known) => known.name === name),
    );
    const algorithms = agreed.filter((algorithm) => algorithm !== undefined);
    return { peerNodeId, capabilities, connectionClass, maxMessageBytes, algorithms };
  }

  /** The user's function. Of what it throws only the kind is logged, since the text might quote a token. */
  readonly #verifyToken = (token: string | undefined, nodeId: string): boolean => {
    let verdict: unknown;
    let flaw: string | undefined;
    try {
      verdict = this.#config.auth?.verify?.(token, nodeId);
    } catch (thrown) {
      flaw = nameOf(thrown);
      handleRejection(thrown);
    }
    if (isPromised(verdict)) {
      flaw = 'it answered by a promise, which is no answer';
    }
    if (flaw !== undefined) this.#reports.authFailed('verify', nodeId, flaw);
    return verdict === true;
  };
}
