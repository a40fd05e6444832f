/** What the streams of a QUIC connection ask of it. */
export interface StreamsHost {
  /** Streams are read and written: the connection is open, or early data passes. */
  isReady(): boolean;
  /** TLS is not done: of this side's streams only the early ones may begin. */
  isEarly(): boolean;
  isOver(): boolean;
  /** Sends what QUIC has to send, once this turn's input is read. */
  flushSoon(): void;
  /** Runs a step outside of any input; what it throws closes the connection. */
  guard(step: () => void): void;
  /** The peer sent a nonce back. It is only good during the call. */
  proofArrived(nonce: Uint8Array): void;
  /** The peer opens no more streams, and neither does this side. */
  goAwayArrived(): void;
}
