/**
 * Streams a file from one node to all its peers at once, each of which answers with the SHA-256 it computed. What a lost
 * connection interrupts goes on over the next one.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { MeshNode } from '../../src/index.js';
import { hexOf } from './calls.js';
import type { TransferReport } from './protocol.js';
import { sha256Of } from './pseudo-random.js';
import { describe, met } from './workload.js';

const READ_BYTES = 256 * 1024;

/** Told of every piece of the file, in bytes. */
export interface TransferListener {
  /** Read from the disk: once for this node's own hash, and once for each peer. */
  readonly onRead: (bytes: number) => void;
  /** Taken by a transport. */
  readonly onTaken: (bytes: number) => void;
}

/** @throws Error when the file cannot be read; what fails on the way to one peer is in the report */
export async function sendFile(
  node: MeshNode,
  path: string,
  peers: readonly string[],
  listener: TransferListener,
): Promise<TransferReport> {
  const { size } = await stat(path);
  const sha256 = await sha256Of(piecesOf(path, 0, listener.onRead, () => {}));
  const transferId = randomUUID();
  const startMs = performance.now();
  const sent = await Promise.allSettled(
    peers.map(async (nodeId) => {
      const digest = met(node, nodeId).stream(
        { transferId: `file-${transferId}`, name: basename(path), totalBytes: size },
        { resume: true, body: (start) => piecesOf(path, start, listener.onRead, listener.onTaken) },
      );
      const computed = await hexOf(digest);
      if (computed !== sha256) throw new Error(`computed SHA-256 ${computed}, not ${sha256}`);
    }),
  );
  return {
    bytes: size,
    sha256,
    verifiedBy: peers.filter((_, at) => sent[at]?.status === 'fulfilled'),
    failures: sent.flatMap((result, at) =>
      result.status === 'rejected'
        ? [`${node.nodeId} → ${peers[at]} file: ${describe(result.reason)}`]
        : [],
    ),
    durationMs: performance.now() - startMs,
  };
}

/** @param onTaken told when the reader comes back for more, which it does when it has found room for the piece */
async function* piecesOf(
  path: string,
  start: number,
  onRead: (bytes: number) => void,
  onTaken: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of createReadStream(path, { start, highWaterMark: READ_BYTES })) {
    onRead(piece.length);
    yield piece;
    onTaken(piece.length);
  }
}
