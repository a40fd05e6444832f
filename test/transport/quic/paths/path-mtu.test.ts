import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { ETHERNET_DATAGRAM_BYTES } from '../../../../src/transport/quic/io/packet.js';
import {
  BASE_DATAGRAM_BYTES,
  PathMtu,
  type PathMtuEvent,
  type PathMtuLimits,
} from '../../../../src/transport/quic/paths/path-mtu.js';
import { holds } from '../../../protocol/properties.js';

const PATIENCE_MS = 100;
const LOOPBACK_BYTES = 16_000;
const SEARCHED: PathMtuLimits = { maxBytes: ETHERNET_DATAGRAM_BYTES, isFixed: false };
const noLoss = (): number => 0;

/** A path that carries so much, with a clock of its own, and a sender that obeys. */
class SimulatedPath {
  nowMs = 1000;
  carries: number;
  lost = 0;
  probes = 0;
  lostProbes = 0;
  readonly events: PathMtuEvent[] = [];
  readonly mtu: PathMtu;
  /** Which of the probes that fit get lost all the same. */
  loses: () => boolean = () => false;
  /** Whether small datagrams come through. */
  isAlive = true;
  /** Whether the peer answers no probes, though they arrive. */
  isMute = false;
  readonly lostPackets = () => this.lost + this.lostProbes;

  constructor(carries: number, limits: PathMtuLimits) {
    this.carries = carries;
    this.mtu = new PathMtu(limits, (event) => this.events.push(event));
  }

  /** Sends ordinary datagrams as large as they may be. */
  sendFull(count = 1): void {
    for (let i = 0; i < count; i += 1) {
      const { bytes } = this.mtu;
      if (bytes > this.carries) this.lost += 1;
      if (this.mtu.sent(bytes)) this.mtu.look(this.lostPackets, this.nowMs);
    }
  }

  /** Nothing is heard for two probe timeouts. */
  timeOut(): void {
    for (let timeouts = 0; timeouts < 2; timeouts += 1) {
      this.nowMs += PATIENCE_MS;
      this.mtu.timedOut(this.nowMs);
    }
  }

  /** Sends the probe that is due now, and lets time pass until the next is. @returns false when there is none to come */
  step(): boolean {
    const { mtu } = this;
    if (mtu.dueAtMs === Number.POSITIVE_INFINITY) return false;
    this.nowMs = Math.max(this.nowMs, mtu.dueAtMs);
    const probe = mtu.nextProbe(this.lostPackets, this.nowMs);
    if (probe === undefined) return true;
    const name = mtu.probeSent(probe.bytes, this.nowMs, PATIENCE_MS);
    this.probes += 1;
    const arrives = probe.bytes <= this.carries && this.isAlive && !this.loses();
    if (!arrives) this.lostProbes += 1;
    else if (!this.isMute) mtu.answered(name, this.nowMs + 1);
    if (probe.needsWitness && this.isAlive) mtu.witnessed();
    return true;
  }

  settle(maxSteps = 200): void {
    for (let steps = 0; this.step(); steps += 1) {
      if (steps > maxSteps) throw new Error('the search has no end');
    }
  }
}

function searched(carries: number, limits = SEARCHED): SimulatedPath {
  const path = new SimulatedPath(carries, limits);
  path.sendFull();
  path.settle();
  return path;
}

test('a connection begins with what every path carries, and asks for more with the first full datagram', (t) => {
  const path = new SimulatedPath(1452, SEARCHED);
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  t.false(path.mtu.sent(500));
  t.false(path.mtu.sent(1100), 'there was room for more');
  t.false(path.step());
  path.sendFull();
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES, 'nothing is assumed');
  path.settle();
  t.is(path.mtu.bytes, 1452);
  t.deepEqual([path.probes, path.lostProbes], [1, 0], 'one round trip');
  t.deepEqual(path.events, [{ kind: 'grown', from: 1200, to: 1452 }]);
});

for (const [carries, found] of [
  [1200, 1200],
  [1231, 1200],
  [1232, 1232],
  [1280, 1280],
  [1300, 1280],
  [1350, 1350],
  [1372, 1372],
  [1444, 1444],
  [1452, 1452],
  [9000, 1452],
] as const) {
  test(`a path of ${carries} bytes is found to carry ${found}`, (t) => {
    const path = searched(carries);
    t.is(path.mtu.bytes, found);
    t.is(path.mtu.confirmedBytes, found);
    t.true(path.lostProbes <= 10, `${path.lostProbes} probes lost`);
  });
}

test('an interface of large datagrams is asked for those, then for those of an Ethernet', (t) => {
  const limits = { maxBytes: LOOPBACK_BYTES, isFixed: false };
  t.is(searched(65_000, limits).mtu.bytes, LOOPBACK_BYTES);
  const path = searched(1452, limits);
  t.deepEqual([path.mtu.bytes, path.probes, path.lostProbes], [1452, 3, 2]);
});

test('where the search is eager it begins when the connection is open, once', (t) => {
  const path = new SimulatedPath(65_000, {
    maxBytes: LOOPBACK_BYTES,
    isFixed: false,
    isEager: true,
  });
  t.false(path.step());
  path.mtu.opened(path.nowMs);
  path.settle();
  path.mtu.opened(path.nowMs);
  path.settle();
  t.deepEqual([path.mtu.bytes, path.probes], [LOOPBACK_BYTES, 1]);
  const patient = new SimulatedPath(1452, SEARCHED);
  patient.mtu.opened(patient.nowMs);
  t.false(patient.step());
});

test('an interface of small datagrams bounds the search', (t) => {
  const path = searched(9000, { maxBytes: 1372, isFixed: false });
  t.deepEqual([path.mtu.bytes, path.probes], [1372, 1]);
  t.is(searched(9000, { maxBytes: 1200, isFixed: false }).probes, 0);
});

test('whatever a path carries and loses, datagrams are never larger than one that arrived', (t) => {
  const arbitraryPath = fc.record({
    carries: fc.integer({ min: 1200, max: 17_000 }),
    maxBytes: fc.integer({ min: 1200, max: LOOPBACK_BYTES }),
    losses: fc.array(fc.boolean(), { maxLength: 40 }),
    ops: fc.array(fc.constantFrom('send', 'timeOut', 'step', 'tick', 'wait'), { maxLength: 80 }),
  });
  const property = fc.property(arbitraryPath, ({ carries, maxBytes, losses, ops }) => {
    const path = new SimulatedPath(carries, { maxBytes, isFixed: false });
    path.loses = () => losses.pop() ?? false;
    for (const op of ops) {
      if (op === 'send') path.sendFull(3);
      else if (op === 'timeOut') path.timeOut();
      else if (op === 'step') path.step();
      else if (op === 'tick') path.mtu.tick(path.nowMs);
      else path.nowMs += 70_000;
      if (path.mtu.bytes > Math.max(carries, BASE_DATAGRAM_BYTES)) return false;
    }
    path.settle(1000);
    return path.lost === 0 && path.mtu.bytes >= BASE_DATAGRAM_BYTES;
  });
  holds(t, property, 500);
});

function fellBack(t: ExecutionContext, path: SimulatedPath, from: number): void {
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  t.is(path.mtu.confirmedBytes, BASE_DATAGRAM_BYTES);
  t.deepEqual(path.events.at(-1), { kind: 'blackHole', from, to: BASE_DATAGRAM_BYTES });
}

test('what a path begins to swallow is sent no more from the first doubt on, and given up soon', (t) => {
  const path = searched(1452);
  path.carries = 1250;
  path.sendFull(20);
  const { probes } = path;
  path.timeOut();
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES, 'at the first doubt, all goes in small datagrams');
  t.is(path.mtu.confirmedBytes, 1452);
  path.settle();
  fellBack(t, path, 1452);
  t.is(path.probes - probes, 3);
});

test('the same is seen by losses, where small datagrams go on', (t) => {
  const path = searched(1452);
  path.sendFull(20);
  path.carries = 1250;
  path.sendFull(40);
  path.settle();
  fellBack(t, path, 1452);
});

/** Whose search goes on beyond what it has found, and cannot end: its next probe finds no room. */
function searching(found: number): SimulatedPath {
  const path = new SimulatedPath(found, SEARCHED);
  path.sendFull();
  while (path.mtu.bytes < found) path.step();
  path.nowMs = path.mtu.dueAtMs;
  if (path.mtu.nextProbe(path.lostPackets, path.nowMs) === undefined)
    throw new Error('no search goes on');
  return path;
}

for (const sign of ['losses', 'timeouts'] as const) {
  test(`what a path begins to swallow while more is searched for is seen by ${sign}, and sent no more`, (t) => {
    const path = searching(1350);
    path.sendFull(20);
    path.carries = 1232;
    for (let turns = 0; turns < 5 && path.mtu.bytes > BASE_DATAGRAM_BYTES; turns += 1) {
      path.mtu.probeDelayed(path.nowMs, PATIENCE_MS);
      path.nowMs += PATIENCE_MS;
      path.sendFull(20);
      if (sign === 'timeouts') path.timeOut();
    }
    t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
    path.settle();
    fellBack(t, path, 1350);
  });
}

test('a search whose probe finds no room again and again ends, where the peer is heard', (t) => {
  const path = new SimulatedPath(1452, SEARCHED);
  path.sendFull();
  const delay = () => {
    path.nowMs = path.mtu.dueAtMs;
    t.truthy(path.mtu.nextProbe(path.lostPackets, path.nowMs));
    path.mtu.probeDelayed(path.nowMs, PATIENCE_MS);
  };
  for (let turns = 0; turns < 20; turns += 1) delay();
  for (let turns = 0; turns < 2; turns += 1) {
    path.mtu.heard();
    delay();
  }
  t.is(path.mtu.dueAtMs, Number.POSITIVE_INFINITY);
  path.sendFull(20);
  path.nowMs += 61_000;
  path.mtu.tick(path.nowMs);
  path.settle();
  t.is(path.mtu.bytes, 1452);
});

test('a path that comes to carry not even the base while more is searched for is given up', (t) => {
  const path = new SimulatedPath(1200, SEARCHED);
  path.sendFull();
  path.carries = 1100;
  for (let turns = 0; turns < 100 && path.mtu.dueAtMs < Number.POSITIVE_INFINITY; turns += 1) {
    path.mtu.heard();
    path.mtu.probeDelayed(path.nowMs, PATIENCE_MS);
    path.sendFull(20);
  }
  path.sendFull(20);
  path.settle();
  t.deepEqual(path.events, [{ kind: 'unusable' }]);
});

test('a search goes on after a doubt that came to nothing', (t) => {
  const path = searching(1350);
  path.carries = 1412;
  path.sendFull(20);
  path.timeOut();
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  path.settle();
  t.is(path.mtu.bytes, 1412);
  t.deepEqual(
    path.events.map(({ kind }) => kind),
    ['grown', 'grown'],
  );
});

test('the lost probes of a search are no reason for a doubt', (t) => {
  const path = new SimulatedPath(1200, SEARCHED);
  path.sendFull();
  while (path.step()) path.sendFull(2);
  t.true(path.lostProbes >= 8);
  t.is(path.probes, searched(1200).probes);
});

test('where small datagrams take all room again and again, and the peer is heard, the size in doubt is given up', (t) => {
  const path = searched(1452);
  path.sendFull(20);
  path.timeOut();
  const delay = () => {
    path.nowMs = Math.max(path.nowMs, path.mtu.dueAtMs);
    t.is(path.mtu.nextProbe(path.lostPackets, path.nowMs)?.bytes, 1452);
    path.mtu.probeDelayed(path.nowMs, PATIENCE_MS);
  };
  delay();
  for (let turns = 0; turns < 20; turns += 1) delay();
  t.is(path.mtu.confirmedBytes, 1452, 'in an outage nothing is heard');
  for (let turns = 0; turns < 2; turns += 1) {
    path.mtu.heard();
    delay();
  }
  fellBack(t, path, 1452);
});

test('losses of all sizes are doubted, and come to nothing', (t) => {
  const path = searched(1452);
  path.sendFull(20);
  path.timeOut();
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  path.settle();
  t.is(path.mtu.bytes, 1452);
  t.is(path.events.length, 1, 'nobody hears of it');
});

test('a timeout before something is heard again is no doubt', (t) => {
  const path = searched(1452);
  path.sendFull(20);
  for (let turn = 0; turn < 20; turn += 1) {
    path.nowMs += PATIENCE_MS;
    path.mtu.timedOut(path.nowMs);
    path.mtu.heard();
  }
  t.is(path.mtu.bytes, 1452);
  t.false(path.step());
});

test('a late answer counts', (t) => {
  const path = new SimulatedPath(1452, SEARCHED);
  path.sendFull();
  const { mtu } = path;
  mtu.nextProbe(path.lostPackets, path.nowMs);
  const name = mtu.probeSent(1452, path.nowMs, PATIENCE_MS);
  path.loses = () => true;
  path.settle();
  t.is(mtu.bytes, BASE_DATAGRAM_BYTES);
  mtu.answered(name, path.nowMs);
  t.is(mtu.bytes, 1452);
  mtu.answered(name, path.nowMs);
  mtu.answered(99, path.nowMs);
  t.is(mtu.bytes, 1452);
});

test('after a minute it is tried again, if there is a use for it', (t) => {
  const path = searched(1452);
  path.carries = 1250;
  path.sendFull(20);
  path.timeOut();
  path.settle();
  fellBack(t, path, 1452);
  path.carries = 1452;
  path.nowMs += 59_000;
  path.sendFull(20);
  path.mtu.tick(path.nowMs);
  t.false(path.step());
  path.nowMs += 2000;
  path.mtu.tick(path.nowMs);
  path.settle();
  t.is(path.mtu.bytes, 1452);
});

test('an idle connection does not search again', (t) => {
  const path = searched(1300);
  t.is(path.mtu.bytes, 1280);
  path.nowMs += 100_000_000;
  path.mtu.tick(path.nowMs);
  t.false(path.step());
});

test('another path begins anew', (t) => {
  const path = searched(1452);
  path.mtu.restart({ maxBytes: 1372, isFixed: false });
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  t.false(path.step());
  path.sendFull();
  path.settle();
  t.is(path.mtu.bytes, 1372);
});

test('a size that is given is taken without asking, until it is in doubt', (t) => {
  const path = new SimulatedPath(1350, { maxBytes: 1350, isFixed: true });
  t.is(path.mtu.bytes, 1350);
  path.sendFull(20);
  path.settle();
  t.is(path.probes, 0);
  path.carries = 1300;
  path.sendFull(20);
  path.timeOut();
  path.settle();
  fellBack(t, path, 1350);
});

test('a path that does not carry even the base any more is given up, if smaller datagrams pass', (t) => {
  const path = searched(1200);
  path.carries = 1100;
  path.sendFull(20);
  path.timeOut();
  path.settle();
  t.deepEqual(path.events, [{ kind: 'unusable' }]);
  path.timeOut();
  t.false(path.step(), 'that was the last word');
});

for (const [size, limits] of [
  ['found by a search', SEARCHED],
  ['that is given', { maxBytes: 1400, isFixed: true }],
] as const) {
  test(`a peer that answers no probe at all is not given up after outages, with a size ${size}`, (t) => {
    const path = new SimulatedPath(1452, limits);
    path.isMute = true;
    for (let outages = 0; outages < 4; outages += 1) {
      path.sendFull(20);
      path.isAlive = false;
      path.timeOut();
      for (let steps = 0; steps < 3; steps += 1) path.step();
      path.isAlive = true;
      path.settle();
      path.nowMs += 30_000;
    }
    t.deepEqual(
      path.events.filter(({ kind }) => kind === 'unusable'),
      [],
    );
    t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  });
}

for (const isMute of [false, true]) {
  test(`a path that comes to carry less than the base before any search is given up, by a peer that ${
    isMute ? 'answers no probes' : 'answers probes'
  }`, (t) => {
    const path = new SimulatedPath(1100, SEARCHED);
    path.isMute = isMute;
    for (let minutes = 0; minutes < 5 && path.events.length === 0; minutes += 1) {
      path.sendFull(20);
      path.timeOut();
      path.settle();
      path.nowMs += 60_000;
    }
    t.deepEqual(path.events, [{ kind: 'unusable' }]);
  });
}

test('an outage of the whole path is no black hole', (t) => {
  const path = searched(1452);
  path.sendFull(20);
  path.isAlive = false;
  path.timeOut();
  for (let steps = 0; steps < 20; steps += 1) path.step();
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
  path.isAlive = true;
  path.settle();
  t.is(path.mtu.bytes, 1452);
  t.is(path.events.length, 1);
});

test('where nothing passes at all, size is not what is wrong, and probes become few', (t) => {
  const path = searched(1200);
  path.isAlive = false;
  path.sendFull(20);
  path.timeOut();
  const { nowMs: startedMs, probes } = path;
  while (path.nowMs < startedMs + 60_000) path.step();
  t.deepEqual(path.events, []);
  t.true(path.probes - probes <= 25, `${path.probes - probes} probes in a minute`);
  path.isAlive = true;
  path.settle();
  t.deepEqual(path.events, []);
  t.is(path.mtu.bytes, BASE_DATAGRAM_BYTES);
});

test('a probe for which there is no room waits', (t) => {
  const path = new SimulatedPath(1452, SEARCHED);
  path.sendFull();
  t.truthy(path.mtu.nextProbe(path.lostPackets, path.nowMs));
  path.mtu.probeDelayed(path.nowMs, PATIENCE_MS);
  t.is(path.mtu.nextProbe(path.lostPackets, path.nowMs), undefined);
  path.settle();
  t.is(path.mtu.bytes, 1452);
  t.is(path.mtu.sent(1452), false);
  path.mtu.look(noLoss, path.nowMs);
});
