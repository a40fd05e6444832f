import test from 'ava';
import fc from 'fast-check';
import {
  assertNodeIds,
  canonicalNodeId,
  requireNodeId,
  sameNodeId,
} from '../../src/protocol/node-id.js';
import { codeOf, holds } from './properties.js';

const KELVIN = '\u212a';
const LONG_S = '\u017f';

const SPELLINGS: readonly (readonly [given: string, canonical: string])[] = [
  ['n1', 'n1'],
  ['N1', 'n1'],
  ['1', '1'],
  ['K3', 'k3'],
  ['Db-1.EU-west.Example', 'db-1.eu-west.example'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['10.0.0.1.example', '10.0.0.1.example'],
  ['1.2.3', '1.2.3'],
  [`${'A'.repeat(63)}.b`, `${'a'.repeat(63)}.b`],
  [Array(127).fill('A').join('.'), Array(127).fill('a').join('.')],
];

/** No node ids, each in a way of its own. */
const NO_NODE_IDS: readonly string[] = [
  '',
  ' ',
  '.',
  '*',
  '*.example',
  'n3 ',
  ' n3',
  'n3\n',
  'n3\0',
  'n3\0.evil',
  'n3.',
  '.n3',
  'n..3',
  '-n3',
  'n3-',
  'n_3',
  'n3:7001',
  'a@b',
  'x, DNS:n3',
  'http://n3',
  '10.0.0.1',
  '010.0.0.1',
  '999.999.999.999',
  '0.0.0.0',
  '::1',
  '[::1]',
  `${KELVIN}3`,
  `node${LONG_S}`,
  'bücher',
  'ｎ3',
  'n３',
  'a'.repeat(64),
  `${Array(127).fill('a').join('.')}.`,
  Array(128).fill('a').join('.'),
];

test('a node id has one canonical spelling, in lower case', (t) => {
  for (const [given, canonical] of SPELLINGS) {
    t.is(canonicalNodeId(given), canonical);
    t.is(requireNodeId(given), canonical);
    t.true(sameNodeId(given, canonical));
  }
  t.notThrows(() => assertNodeIds(SPELLINGS.map(([given]) => given).filter((id) => id !== 'N1')));
});

test('what is no DNS name is no node id, and is the same as nothing', (t) => {
  const others = [undefined, null, 1, {}, [], ['n1'], Symbol('n1'), Object('n1')] as string[];
  for (const text of [...NO_NODE_IDS, ...others]) {
    t.is(canonicalNodeId(text), undefined, JSON.stringify(text));
    t.is(
      codeOf(() => requireNodeId(text)),
      'InvalidArgument',
    );
    t.is(
      codeOf(() => assertNodeIds([text])),
      'InvalidArgument',
    );
    t.false(sameNodeId(text, text));
    t.false(sameNodeId(text, 'n3'));
    t.false(sameNodeId('k3', text));
  }
});

test('one name in two spellings is given twice', (t) => {
  t.is(
    codeOf(() => assertNodeIds(['n1', 'n2', 'N1'])),
    'InvalidArgument',
  );
});

test('every text is a node id or not whatever the case of its letters, and to spell it canonically twice changes nothing', (t) => {
  const alphabet = [...`aAkKsSzZ09-. *_\0${KELVIN}${LONG_S}éİ`];
  const text = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 8 });
  holds(
    t,
    fc.property(text, text, (a, b) => {
      const id = canonicalNodeId(a);
      if (id !== undefined) {
        if (!/^[a-z0-9.-]+$/.test(id) || canonicalNodeId(id) !== id) return false;
        if (canonicalNodeId(a.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase())) !== id) {
          return false;
        }
      }
      return sameNodeId(a, b) === (id !== undefined && id === canonicalNodeId(b));
    }),
    5000,
  );
});
