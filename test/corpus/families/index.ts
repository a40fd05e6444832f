/** All families, in the order of the layers that they are aimed at. */
import type { Family } from '../case.js';
import { amplified } from './amplified.js';
import { certificates } from './certificates.js';
import { frames } from './frames.js';
import { handshake } from './handshake.js';
import { messages } from './messages.js';
import { order } from './order.js';
import { packets } from './packets.js';
import { pieces } from './pieces.js';
import { rates } from './rates.js';
import { strangers } from './strangers.js';

export const FAMILIES: readonly Family[] = [
  strangers,
  packets,
  certificates,
  handshake,
  frames,
  pieces,
  messages,
  order,
  rates,
  amplified,
];
