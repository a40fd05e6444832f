/** Suite `codec`: a query from message to frame and back, against cbor-x alone doing the same to the same value. */
import { Encoder } from 'cbor-x';
import { MessageCodec } from '../../../src/protocol/codec.js';
import { encodeFrame, FrameDecoder } from '../../../src/protocol/frame.js';
import type { Message } from '../../../src/protocol/message.js';
import { type Contestant, compete } from '../measure.js';
import type { Suite, SuiteFindings } from './suite.js';

/** About 200 bytes in CBOR, as a query of a database client looks. */
const QUERY: Message = {
  type: 'queryRequest',
  query: 'SELECT id, name, balance, updated_at FROM accounts WHERE region = ? AND balance > ?',
  parameters: ['eu-central-1', 250.75, true, { limit: 50, cursor: 'c29tZSBvcGFxdWUgY3Vyc29y' }],
  database: 'ledger',
  timeoutMs: 500,
};

const BARE = 'bare cbor-x';
const WORKS = { query: 'Encode and decode of a query' };

export const codecSuite: Suite = {
  name: 'codec',
  title: 'The codec, within one process',
  works: WORKS,
  targets: [{ work: 'query', of: 'frame with checksum', to: BARE, atMost: 2.5 }],
  async run({ quick, rounds }): Promise<SuiteFindings> {
    const timings = compete([bareCborX(), withFrame(true), withFrame(false)], {
      rounds: rounds ?? (quick ? 15 : 41),
      roundMs: quick ? 20 : 50,
    });
    const rows = timings.map(({ name, samplesNs }) => ({
      name,
      samples: samplesNs.map((ns) => ns / 1000),
      limit: BARE,
    }));
    const bytes = new MessageCodec().encode(QUERY).length;
    const title = `${WORKS.query} of ${bytes} bytes`;
    return { tables: [{ work: 'query', title, unit: 'µs', better: 'lower', rows }], notes: [] };
  },
};

/** cbor-x with the codec's options, and nothing else: no scan, no check of fields, no frame. */
function bareCborX(): Contestant {
  const cbor = new Encoder({
    useRecords: false,
    mapsAsObjects: true,
    tagUint8Array: false,
    variableMapSize: true,
  });
  return {
    name: BARE,
    run(count) {
      for (let i = 0; i < count; i += 1) cbor.decode(cbor.encode(QUERY));
    },
  };
}

/** What a call does to its message on either side: encode, frame, find the frame, decode, check. */
function withFrame(checksum: boolean): Contestant {
  const codec = new MessageCodec();
  const decoder = new FrameDecoder({ requireChecksum: checksum });
  return {
    name: checksum ? 'frame with checksum' : 'frame without checksum',
    run(count) {
      for (let i = 0; i < count; i += 1) {
        decoder.push(encodeFrame({ messageId: i + 1, payload: codec.encode(QUERY), checksum }));
        const frame = decoder.next();
        if (frame === undefined) throw new Error('the frame is not whole');
        codec.decode(frame.payload);
      }
    },
  };
}
