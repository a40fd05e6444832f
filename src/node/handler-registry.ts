/** The handlers of a node, one for each kind of call. */
import type { Handlers } from '../calls/incoming/call-host.js';
import type { Handler, HandlerKind } from '../calls/types.js';
import { MeshError } from '../errors.js';

const KINDS: ReadonlySet<string> = new Set<HandlerKind>([
  'query',
  'replicationLog',
  'consensus',
  'dataTransfer',
  'request',
]);

/** Sessions read {@link HandlerRegistry.handlers} for every call that comes. */
export class HandlerRegistry {
  readonly #handlers = new Map<HandlerKind, Handler<HandlerKind>>();

  get handlers(): Handlers {
    return this.#handlers;
  }

  /** @throws MeshError InvalidArgument for a kind that does not exist or has a handler already, or a handler that is no function */
  register<K extends HandlerKind>(kind: K, handler: Handler<K>): void {
    if (!KINDS.has(kind))
      throw new MeshError('InvalidArgument', `there is no call of kind ${String(kind)}`);
    if (typeof handler !== 'function')
      throw new MeshError('InvalidArgument', `the handler of ${kind} must be a function`);
    if (this.#handlers.has(kind))
      throw new MeshError('InvalidArgument', `${kind} has a handler already`);
    this.#handlers.set(kind, handler as unknown as Handler<HandlerKind>);
  }
}
