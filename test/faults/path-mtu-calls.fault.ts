/** Every call, over QUIC and paths that carry no datagrams above a size, whether they say so or not. */
import test from 'ava';
import { callsSuite } from '../compliance/calls-suite.js';
import { socketPair } from '../helpers/node-pair.js';

for (const maxDatagramBytes of [1200, 1232, 1280, 1350, 1452]) {
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
