import test from 'ava';
import { socketPair } from '../helpers/node-pair.js';
import { callsSuite } from './calls-suite.js';

callsSuite(test, 'tcp', (options) => socketPair('tcp', options));
