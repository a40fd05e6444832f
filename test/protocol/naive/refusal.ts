import type { MeshErrorCode } from '../../../src/errors.js';

/** What the naive codec throws: a code of SPEC.md, "Error codes". */
export class Refusal extends Error {
  readonly code: MeshErrorCode;
  constructor(code: MeshErrorCode, why: string) {
    super(why);
    this.code = code;
  }
}

export function malformed(why: string): Refusal {
  return new Refusal('MalformedMessage', why);
}
