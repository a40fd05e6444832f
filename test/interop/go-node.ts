/** The node that the client in `go/` is tried on, and what its handlers saw. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { MeshError, type MeshNode, type NodeOptions } from '../../src/index.js';
import { crc32After } from '../../src/protocol/checksum.js';
import { startNode } from '../helpers/nodes.js';

/** Byte i of every transfer is i modulo this. */
const PATTERN_PERIOD = 251;
const CHUNK_BYTES = 64 * 1024;

const PATTERN = Buffer.from(
  Array.from({ length: CHUNK_BYTES + PATTERN_PERIOD }, (_, i) => i % PATTERN_PERIOD),
);

/** What handlers tell the test. */
export interface Seen {
  /** Methods of requests that were run. */
  readonly methods: string[];
  /** Handlers that wait for their end: they count when they begin. */
  waiting: number;
  /** With what code they were told that their call is over, in order. */
  readonly endedBy: string[];
  /** Answers the calls of method `hold` that are there, and those to come. */
  release(): void;
  /** Bytes of downloads that were handed to the node to send. */
  yielded: number;
  /** Bytes of uploads that have arrived, those of interrupted ones included. */
  received: number;
}

/** Bytes of a transfer, a chunk at most. */
export function patternAt(offset: number, length: number): Buffer {
  const from = offset % PATTERN_PERIOD;
  return PATTERN.subarray(from, from + length);
}

/** A node with handlers for what the client calls. */
export async function startServing(
  t: ExecutionContext,
  options: Partial<NodeOptions> = {},
): Promise<{ node: MeshNode; seen: Seen }> {
  const node = await startNode(t, 'n2', { transports: ['quic'], ...options });
  return { node, seen: serveClient(node) };
}

export function serveClient(node: MeshNode): Seen {
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const seen: Seen = { methods: [], waiting: 0, endedBy: [], release, yielded: 0, received: 0 };

  /** Waits for the end of a call, and notes it. */
  const untilOver = (signal: AbortSignal): Promise<never> => {
    seen.waiting += 1;
    return new Promise((_, reject) => {
      const end = (): void => {
        seen.endedBy.push(codeOf(signal.reason));
        reject(signal.reason);
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end);
    });
  };

  node.handle('query', ({ parameters }) => ({ result: parameters }));
  node.handle('consensus', () => ({
    body: { kind: 'requestVoteResponse', term: 8, voteGranted: true },
  }));
  node.handle('request', async ({ method, body }, context) => {
    seen.methods.push(method);
    if (method === 'echo') return { body };
    if (method === 'early') return { body: context.early };
    if (method === 'hang') return untilOver(context.signal);
    if (method === 'hold') {
      await released;
      return { body: 'held' };
    }
    throw new MeshError('HandlerFailed', 'made to fail');
  });

  /** Interrupted uploads. */
  const partial = new Map<string, { size: number; crc: number }>();
  node.handle('dataTransfer', async function* (request, context) {
    const { transferId, name, offset, totalBytes, resume = false } = request;
    if (name === 'hang') {
      await untilOver(context.signal);
    } else if (name === 'download' || name === 'endless') {
      context.signal.addEventListener('abort', () => {
        seen.endedBy.push(codeOf(context.signal.reason));
      });
      seen.waiting += 1;
      const total = totalBytes ?? Number.POSITIVE_INFINITY;
      for (let at = offset; at < total; ) {
        const chunk = patternAt(at, Math.min(CHUNK_BYTES, total - at));
        at += chunk.length;
        seen.yielded += chunk.length;
        yield chunk;
      }
    } else if (name === 'echo') {
      yield* context.body;
    } else {
      const file = (resume ? partial.get(transferId) : undefined) ?? { size: 0, crc: 0 };
      partial.set(transferId, file);
      if (resume) context.resumeAt(file.size, file.crc);
      for await (const chunk of context.body) {
        file.size += chunk.length;
        file.crc = crc32After(file.crc, chunk);
        seen.received += chunk.length;
      }
      yield Buffer.from(`${file.size} bytes, ${file.crc.toString(16).padStart(8, '0')}`);
    }
  });
  return seen;
}

function codeOf(reason: unknown): string {
  return reason instanceof MeshError ? reason.code : String(reason);
}

/** Until the count stands still: what is under way has arrived, or waits for a window. */
export async function untilStill(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await delay(200);
  }
}
