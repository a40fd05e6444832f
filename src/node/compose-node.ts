/** Makes the parts of a node and ties them together; nothing happens yet. */
import { Alarms } from '../base/alarms.js';
import { SYSTEM_CLOCK } from '../base/clock.js';
import { createLog, type NodeLog } from '../telemetry/logging.js';
import { Reports } from '../telemetry/reports.js';
import type { Refusal } from '../transport/connection.js';
import { TransportManager } from '../transport/dialing/manager.js';
import { Acceptor } from './acceptor.js';
import { BulkRoutes } from './bulk-routes.js';
import type { Certificates } from './certificates.js';
import { createTransports } from './create-transports.js';
import { Dialer } from './dialer.js';
import { HandlerRegistry } from './handler-registry.js';
import { KnownPeers } from './known-peers.js';
import { Link } from './link.js';
import { Negotiation } from './negotiation.js';
import { type NodeCounts, newCounts } from './node-counts.js';
import type { NodeConfig } from './options/resolve.js';
import { PeerErrors } from './peer-errors.js';
import { Renewal } from './renewal.js';
import { SessionFactory } from './session-factory.js';
import { SessionRegistry } from './session-registry.js';
import { TlsReload } from './tls-reload.js';

/** What a node is made of. Each part owns its state. */
export interface NodeParts {
  readonly config: NodeConfig;
  readonly log: NodeLog;
  readonly reports: Reports;
  readonly counts: NodeCounts;
  readonly certificates: Certificates;
  readonly manager: TransportManager;
  readonly negotiation: Negotiation;
  readonly handlers: HandlerRegistry;
  readonly links: KnownPeers<Link>;
  readonly sessions: SessionRegistry;
  readonly renewal: Renewal;
  readonly dialer: Dialer;
  readonly acceptor: Acceptor;
  readonly tlsReload: TlsReload;
  /** Aborted when the node begins to close. */
  readonly stopping: AbortController;
}

/** Parts may refer to parts that are made later: what they pass each other runs only once all of them exist. */
export function composeNode(config: NodeConfig, certificates: Certificates): NodeParts {
  const log = createLog(config.logger, config.nodeId);
  const reports = new Reports(log);
  const counts = newCounts();
  const alarms = new Alarms();
  const handlers = new HandlerRegistry();
  const negotiation = new Negotiation(config, log, reports);
  const stopping = new AbortController();
  const onRefused = (refusal: Refusal): void => {
    if (stopping.signal.aborted) return;
    counts.handshakes.refused += 1;
    reports.refused(refusal);
  };
  const manager = new TransportManager({
    transports: createTransports(config, () => certificates.inForce, log),
    onUnavailable: ({ name }, error) => {
      log.warn({ transport: name, code: error.code }, error.message);
    },
    fallbackDelayMs: config.timeouts.fallbackDelayMs,
    discovery: config.discovery,
  });
  const errors = new PeerErrors(config.limits.errorsPerSecond);
  const factory = new SessionFactory({
    config,
    negotiation,
    handlers: handlers.handlers,
    counts,
    log,
    reports,
    errors,
    accountOf: (nodeId) => links.obtain(nodeId).account,
  });
  const bulkRoutes = new BulkRoutes(config);
  const links: KnownPeers<Link> = new KnownPeers(
    (nodeId) =>
      new Link({
        nodeId,
        // The node with the greater name gives way. Both know both names, so both agree.
        yields: config.nodeId > nodeId,
        config,
        codec: factory.codec,
        account: factory.newAccount(),
        reports,
        alarms,
        bulkRoutes,
        dial: (target, options) => dialer.dial(target, options),
        onRest: () => links.reviewOne(nodeId),
      }),
    SYSTEM_CLOCK,
  );
  const renewal = new Renewal({
    ...config.renewal,
    alarms,
    dial: (target, options) => dialer.dial(target, options),
    // A bulk connection goes by another order of transports.
    mayImprove: ({ connection, connectionClass }) =>
      connectionClass === 'calls' && manager.mayImprove(connection),
    isSecondChoice: ({ transport, connectionClass }) =>
      connectionClass === 'calls' && manager.isSecondChoice(transport),
    onRenewed: (session) => {
      reports.renewed(session);
      const link = links.obtain(session.peer.nodeId);
      link.poolOf(session).retire(session, 'connection was renewed');
    },
    onFailed: (session, error) => reports.cannotRenew(session, error),
  });
  const sessions = new SessionRegistry({
    links,
    counts,
    reports,
    errors,
    onClosed: (session) => renewal.forget(session),
    onRefused,
  });
  const shared = {
    config,
    manager,
    negotiation,
    certificates,
    factory,
    sessions,
    stopping: stopping.signal,
  };
  const dialer = new Dialer({ ...shared, renewal, bulkRoutes });
  const acceptor = new Acceptor({ ...shared, errors, log, onRefused });
  const { drainMs } = config.timeouts;
  const tlsReload = new TlsReload({ certificates, sessions, renewal, reports, drainMs });
  return {
    config,
    log,
    reports,
    counts,
    certificates,
    manager,
    negotiation,
    handlers,
    links,
    sessions,
    renewal,
    dialer,
    acceptor,
    tlsReload,
    stopping,
  };
}
