/** Every call, over QUIC and a path that carries no datagrams above a size, whether it says so or not. */
import test from 'ava';
import { callsSuite } from '../../compliance/calls-suite.js';
import { socketPair } from '../../helpers/node-pair.js';

/**
 * Registers the suite of calls twice.
 * @param maxDatagramBytes of UDP payload
 */
export function callsOverPath(maxDatagramBytes: number): void {
  for (const tooLarge of ['lost', 'reported'] as const) {
    const faults = { udp: { maxDatagramBytes, tooLarge } };
    callsSuite(
      test,
      'quic',
      (options) => socketPair('quic', options, faults),
      `${maxDatagramBytes} bytes, larger ones ${tooLarge}`,
    );
  }
}
