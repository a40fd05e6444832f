/** What a handler answered, as the message that goes back. Pure. */
import type { Message, Response } from '../../protocol/message.js';
import { REPLY_TYPES, type RequestMessage } from '../types.js';

/** The reply to `message` with the fields that its handler answered. */
export function replyTo(message: RequestMessage, fields: object | undefined): Message {
  const type = REPLY_TYPES[message.type];
  // Nearly all replies have one field or none. To copy every field would cost more than the rest of the answer.
  if (type === 'response') {
    const { body } = (fields ?? NO_FIELDS) as Partial<Response>;
    return body === undefined ? { type } : { type, body };
  }
  if (message.type === 'consensus' && message.group !== undefined) {
    return { group: message.group, ...fields, type } as Message;
  }
  return { ...fields, type } as Message;
}

const NO_FIELDS = {};
