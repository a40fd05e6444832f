import test from 'ava';
import { memoryPair } from '../helpers/memory-pair.js';
import { connectionSuite } from './connection-suite.js';

connectionSuite(test, 'memory', memoryPair);
