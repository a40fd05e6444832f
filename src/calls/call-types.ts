/** Which message types each way of calling takes. TypeScript checks that too; this holds for callers in JavaScript. Pure. */

import { textOf } from '../base/realms.js';
import { MeshError } from '../errors.js';
import { type OneWayMessage, REPLY_TYPES } from './types.js';

/** The message types that a way of calling takes, as keys. */
export type CallTypes = Readonly<Record<string, unknown>>;

export const REQUEST_TYPES: CallTypes = { ...REPLY_TYPES };

export const ONE_WAY_TYPES: CallTypes = {
  replicationLog: true,
  consensus: true,
  request: true,
} satisfies Record<OneWayMessage['type'], true>;

export const LOG_TYPES: CallTypes = { replicationLog: true, consensus: true };

export const TRANSFER_TYPES: CallTypes = { dataTransfer: true };

/** Why a message begins no such call; `undefined` if it does. Its `type` must be an own property and one of `types`. */
export function typeRefusal(message: unknown, types: CallTypes): MeshError | undefined {
  if (typeof message !== 'object' || message === null) {
    return new MeshError('InvalidArgument', 'a message is an object');
  }
  let type: unknown;
  try {
    ({ type } = message as { readonly type?: unknown });
    if (typeof type === 'string' && Object.hasOwn(types, type) && Object.hasOwn(message, 'type')) {
      return undefined;
    }
  } catch (cause) {
    return new MeshError('InvalidArgument', `a message without a type: ${textOf(cause)}`, {
      cause,
    });
  }
  const known = Object.keys(types).join(', ');
  const text = typeof type === 'string' ? JSON.stringify(type.slice(0, 64)) : typeof type;
  return new MeshError('InvalidArgument', `type must be one of ${known}, not ${text}`);
}
