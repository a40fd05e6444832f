/** What the QUIC endpoints of one transport count, together. */
export interface EndpointCounters extends Record<string, number> {
  datagramsReceived: number;
  datagramsSent: number;
  bytesReceived: number;
  bytesSent: number;
  /** Datagrams that could not be sent, and were dropped. */
  sendErrors: number;
  /** Datagrams from source port 0, to which no answer can be sent. */
  droppedUnanswerable: number;
  droppedMalformed: number;
  droppedUnknownVersion: number;
  droppedShortInitial: number;
  /** Initials that cannot be decrypted, or have a frame that no Initial may have. */
  droppedUnreadableInitial: number;
  droppedUnknownConnection: number;
  /** First packets, of any version, of dialers who did not knock or had no good knock: see `knock-gate.ts`. */
  droppedWithoutKnock: number;
  /** First packets with a knock that belongs to another address, or has led to a connection already. */
  droppedReplayedKnock: number;
  /** Initials that came while as many handshakes as allowed were under way, or while nobody listened. */
  droppedNotAccepting: number;
  /** Initials from a source that had as many handshakes under way as one source may have. */
  droppedSourceLimit: number;
  /** Initials from a source that had cost as much by failed handshakes as one source may. */
  droppedSourceBudget: number;
  /** Initials with a Retry token that is expired, another client's, or forged. */
  droppedInvalidToken: number;
  /** Datagrams beyond what a connection may receive before its handshake is done. */
  droppedHalfOpenExcess: number;
  /** Datagrams of handshakes that came while too many others waited for their turn. */
  droppedHandshakeQueueFull: number;
  /** Datagrams of a handshake that came to a dialer too late, and that anybody could have written. */
  droppedLateHandshake: number;
  retriesSent: number;
  versionNegotiationsSent: number;
  statelessResetsSent: number;
  /** Connections that ended because their peer had forgotten them. */
  statelessResetsReceived: number;
  accepted: number;
  /** Connections of either side that resumed a session. */
  resumed: number;
  /** Accepted or refused connections that began with early data, and dialed ones that did. */
  earlyAccepted: number;
  earlyDialed: number;
  /** Stored sessions that could not be read, or whose certificate is not trusted any more. */
  sessionsUnusable: number;
  dialed: number;
  refused: number;
  /** Connections ended because the peer sent too much that was of no use; see `input-budget.ts`. */
  closedForExcess: number;
  /** Connections ended because the peer acknowledged packets that it had not received; see `receipt-proof.ts`. */
  closedForFalseAcks: number;
  pathsValidated: number;
  pathsFailed: number;
  /** Connections that this side moved to another address of its own. */
  migrations: number;
  /** Connections that followed their peer to another address. */
  peerMigrations: number;
  /** Datagrams from an address to which a connection did not follow its peer. */
  pathChangesRefused: number;
  /** Probes for the largest datagram that a path carries; see `path-mtu.ts`. */
  pathProbes: number;
  /** Connections that returned to small datagrams because the path dropped larger ones. */
  blackHoles: number;
  /** Connections ended because the path dropped even the smallest datagrams. */
  pathsUnusable: number;
  /** Sockets of their own that peers got; see `peer-sockets.ts`. */
  peerSocketsOpened: number;
  /** Peers that got none, because there were too many or the system refused. */
  peerSocketsRefused: number;
  /** Such sockets that were closed for too many errors. */
  peerSocketsFailed: number;
  /** Not counts: what the system granted the socket opened last. Linux doubles the number for its bookkeeping. */
  receiveBufferBytes: number;
  sendBufferBytes: number;
}

export function newEndpointCounters(): EndpointCounters {
  return {
    datagramsReceived: 0,
    datagramsSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
    sendErrors: 0,
    droppedUnanswerable: 0,
    droppedMalformed: 0,
    droppedUnknownVersion: 0,
    droppedShortInitial: 0,
    droppedUnreadableInitial: 0,
    droppedUnknownConnection: 0,
    droppedWithoutKnock: 0,
    droppedReplayedKnock: 0,
    droppedNotAccepting: 0,
    droppedSourceLimit: 0,
    droppedSourceBudget: 0,
    droppedInvalidToken: 0,
    droppedHalfOpenExcess: 0,
    droppedHandshakeQueueFull: 0,
    droppedLateHandshake: 0,
    retriesSent: 0,
    versionNegotiationsSent: 0,
    statelessResetsSent: 0,
    statelessResetsReceived: 0,
    accepted: 0,
    resumed: 0,
    earlyAccepted: 0,
    earlyDialed: 0,
    sessionsUnusable: 0,
    dialed: 0,
    refused: 0,
    closedForExcess: 0,
    closedForFalseAcks: 0,
    pathsValidated: 0,
    pathsFailed: 0,
    migrations: 0,
    peerMigrations: 0,
    pathChangesRefused: 0,
    pathProbes: 0,
    blackHoles: 0,
    pathsUnusable: 0,
    peerSocketsOpened: 0,
    peerSocketsRefused: 0,
    peerSocketsFailed: 0,
    receiveBufferBytes: 0,
    sendBufferBytes: 0,
  };
}
