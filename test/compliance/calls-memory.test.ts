import test from 'ava';
import { memoryNodePair } from '../helpers/node-pair.js';
import { callsSuite } from './calls-suite.js';

callsSuite(test, 'memory', memoryNodePair);
