/** Noise under a connection's ID is no sign of life, whatever its rate; the peer's datagrams are, at the cost of few looks. */
import test from 'ava';
import { Random } from '../../../../scripts/fuzz/random.js';
import { SignsOfLife } from '../../../../src/transport/quic/connection/signs-of-life.js';

/** What is believed between two looks is off by no more than that. */
const LOOK_MS = 50;

/** A connection whose binding counts packets, and the looks at that count. */
class Wire {
  nowMs = 1000;
  packets = 4;
  looks = 0;
  readonly life = new SignsOfLife(1000);

  constructor() {
    this.life.established(this.packets);
  }

  peers(isAlone = false): boolean {
    return this.#take(1, isAlone);
  }

  noise(isAlone = false): boolean {
    return this.#take(0, isAlone);
  }

  #take(packets: number, isAlone: boolean): boolean {
    this.life.arrives(this.nowMs, this.#count, isAlone);
    this.packets += packets;
    return this.life.arrived(this.nowMs, this.#count);
  }

  readonly #count = (): number => {
    this.looks += 1;
    return this.packets;
  };
}

test('a busy peer costs two looks in so many milliseconds', (t) => {
  const wire = new Wire();
  let believed = 0;
  for (let i = 0; i < 5000; i += 1) {
    wire.nowMs += 0.1;
    if (wire.peers() && wire.life.heardMs === wire.nowMs) believed += 1;
  }
  t.is(believed, 5000);
  t.true(wire.looks <= 2 * (500 / LOOK_MS + 1));
});

test('noise alone is no sign of life, at whatever rate', (t) => {
  for (const everyMs of [0.01, 1, 10, 100, 5000]) {
    const wire = new Wire();
    wire.peers();
    const heardMs = wire.nowMs;
    let believed = 0;
    for (let i = 0; i < 2000; i += 1) {
      wire.nowMs += everyMs;
      if (wire.noise()) believed += 1;
    }
    t.true(wire.life.heardMs - heardMs <= LOOK_MS, `every ${everyMs} ms`);
    t.true(believed * everyMs <= LOOK_MS, `${believed} of those every ${everyMs} ms`);
  }
});

test('what is heard is off by no more than the time between looks, whoever sends what and when', (t) => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const chances = new Random(seed);
    const random = () => chances.fraction();
    const wire = new Wire();
    let truthMs = wire.nowMs;
    let share = random();
    let errorMs = 0;
    for (let i = 0; i < 500; i += 1) {
      if (random() < 0.02) share = random();
      wire.nowMs += random() < 0.9 ? random() * 3 : random() * 400;
      const isPeers = random() < share;
      if (isPeers) wire.peers();
      else wire.noise();
      if (isPeers) truthMs = wire.nowMs;
      errorMs = Math.max(errorMs, Math.abs(wire.life.heardMs - truthMs));
    }
    t.true(errorMs <= LOOK_MS, `seed ${seed}: ${errorMs} ms`);
  }
});

test('a datagram may be judged by itself, whatever came before', (t) => {
  const wire = new Wire();
  wire.peers();
  wire.nowMs += 1;
  t.true(wire.peers());
  t.false(wire.noise(true));
  t.true(wire.peers(true));
});

test('noise costs one look each, wherever it comes from', (t) => {
  for (const isAlone of [false, true]) {
    const wire = new Wire();
    for (let i = 0; i < 1000; i += 1) wire.noise(isAlone);
    t.true(wire.looks <= 1001, `${wire.looks}`);
  }
});

test('what arrived during TLS does not count for what comes from elsewhere', (t) => {
  const life = new SignsOfLife(1000);
  const packets = () => 3;
  life.arrivedEarly(1001);
  life.arrives(1002, packets, true);
  t.false(life.arrived(1002, packets));
});

test('while TLS is under way, each datagram counts', (t) => {
  const wire = new Wire();
  wire.life.arrivedEarly(2000);
  t.is(wire.life.heardMs, 2000);
});
