import test from 'ava';
import { socketPair } from '../helpers/node-pair.js';
import { callsSuite } from './calls-suite.js';

callsSuite(test, 'quic', (options) => socketPair('quic', options));
