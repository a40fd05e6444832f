import { callsOverPath } from './helpers/calls-over-path.js';

callsOverPath(1200);
