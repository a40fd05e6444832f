/** All families, in the order of the layers that they are aimed at. */
import type { Family } from '../case.js';
import { frames } from './frames.js';

export const FAMILIES: readonly Family[] = [frames];
