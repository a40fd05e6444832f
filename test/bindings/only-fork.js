/** `node --import ./test/bindings/only-fork.js`: `@matrixai/quic` does not load, as on Linux on ARM. */
import { register } from 'node:module';

register('./hooks.js', import.meta.url, { data: { refused: ['@matrixai/quic'] } });
