import test from 'ava';
import fc from 'fast-check';
import { type Candidate, STRATEGIES, selectCandidate } from '../../src/pool/select.js';
import { holds } from '../protocol/properties.js';

const candidate = fc.record({ load: fc.nat(5), isSuspect: fc.boolean() });
const candidates = fc.array(candidate, { maxLength: 10 });
const crowd = fc.array(candidate, { minLength: 1, maxLength: 10 });
const options = fc.record({ turn: fc.nat(), busyAtCalls: fc.integer({ min: 1, max: 5 }) });
const strategy = fc.constantFrom(...STRATEGIES);

const isWell = ({ isSuspect }: Candidate): boolean => !isSuspect;

/** Those that the choice is among. */
function eligible(all: readonly Candidate[]): readonly Candidate[] {
  return all.some(isWell) ? all.filter(isWell) : all;
}

test('where there is a connection, one is taken; where there is none, none', (t) => {
  holds(
    t,
    fc.property(strategy, candidates, options, (name, all, rest) => {
      const index = selectCandidate(name, all, rest);
      return all.length === 0 ? index === -1 : all[index] !== undefined;
    }),
  );
});

test('a suspect connection is never taken while another is well', (t) => {
  holds(
    t,
    fc.property(strategy, crowd, options, (name, all, rest) => {
      const taken = all[selectCandidate(name, all, rest)] as Candidate;
      return isWell(taken) || !all.some(isWell);
    }),
  );
});

test('leastLoaded takes the one with the fewest calls among those that are well', (t) => {
  holds(
    t,
    fc.property(crowd, options, (all, rest) => {
      const taken = all[selectCandidate('leastLoaded', all, rest)] as Candidate;
      return eligible(all).every(({ load }) => load >= taken.load);
    }),
  );
});

test('roundRobin takes each of those that are well equally often', (t) => {
  holds(
    t,
    fc.property(crowd, fc.nat(1000), fc.integer({ min: 1, max: 4 }), (all, turn, rounds) => {
      const taken = new Map<Candidate, number>();
      for (let i = 0; i < rounds * eligible(all).length; i += 1) {
        const index = selectCandidate('roundRobin', all, { turn: turn + i, busyAtCalls: 1 });
        const one = all[index] as Candidate;
        taken.set(one, (taken.get(one) ?? 0) + 1);
      }
      return eligible(all).every((one) => taken.get(one) === rounds);
    }),
  );
});

test('firstAvailable takes the oldest that is not busy, and the least loaded when all are', (t) => {
  holds(
    t,
    fc.property(crowd, options, (all, rest) => {
      const taken = all[selectCandidate('firstAvailable', all, rest)] as Candidate;
      const among = eligible(all);
      const free = among.find(({ load }) => load < rest.busyAtCalls);
      if (free !== undefined) return taken === free;
      return among.every(({ load }) => load >= taken.load);
    }),
  );
});
