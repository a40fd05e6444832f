/**
 * Over TCP a knock is the name of a protocol, which a dialer offers next to its own: it is in the ClientHello, before either side has
 * computed anything. In hex, because some TLS libraries take names in ASCII only. SPEC.md, "Knocks". Pure.
 */
import { KNOCK_BYTES } from '../../protocol/knock.js';
import { ALPN_PROTOCOL } from '../connection.js';
import { offeredProtocols } from './client-hello.js';

const NAME_BYTES = 2 * KNOCK_BYTES;
const HEX = /^[0-9a-f]+$/;

/** The protocols that a dialer offers, by preference. @param knock without one nobody is told that the dialer belongs here */
export function protocolsWith(knock: Uint8Array | undefined): string[] {
  if (knock === undefined) return [ALPN_PROTOCOL];
  return [ALPN_PROTOCOL, Buffer.from(knock).toString('hex')];
}

/**
 * @param hello a ClientHello without the header of its message
 * @returns its first knock, good or not; `undefined` where there is none
 */
export function knockIn(hello: Buffer): Buffer | undefined {
  for (const name of offeredProtocols(hello)) {
    if (name.length !== NAME_BYTES) continue;
    const text = name.toString('latin1');
    if (HEX.test(text)) return Buffer.from(text, 'hex');
  }
  return undefined;
}
