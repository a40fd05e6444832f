/** What a stranger meets first says what it is for: doc comments stand where an editor shows them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const CLASS = /^export (?:abstract )?class (\w+)/gm;

test('every exported class has a doc comment of its own', (t) => {
  let classes = 0;
  for (const path of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts')) continue;
    const text = readFileSync(join('src', path), 'utf8');
    for (const { 1: name, index } of text.matchAll(CLASS)) {
      classes += 1;
      t.true(text.slice(0, index).endsWith(' */\n'), `${name} of src/${path} has no doc comment`);
    }
  }
  t.true(classes > 100);
});
