/** What a connection is for. SPEC.md, "Connection classes". */

/** `calls`: everything. `bulk`: transfers that are too large to share a connection with calls. */
export type ConnectionClass = 'calls' | 'bulk';

/** The class that a message of the handshake names. A class that is not known here is that of an ordinary connection. */
export function connectionClassOf({
  connectionClass,
}: {
  readonly connectionClass?: string;
}): ConnectionClass {
  return connectionClass === 'bulk' ? 'bulk' : 'calls';
}
