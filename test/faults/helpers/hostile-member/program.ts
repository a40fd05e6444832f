/** The process of a hostile member: all attacks at once, on each of the nodes in turns. Ends with its parent. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Attack, makeAttacks } from './attacks.js';
import { Member } from './member.js';
import type { Deed, Order } from './protocol.js';

const SPIN_MS = 20;
/** After a round that failed at once: a node that refuses is asked again, and not in a busy loop. */
const PAUSE_MS = 5;

const deeds: Record<string, Deed> = {};
let order: Order['do'] = 'stop';

process.on('disconnect', () => process.exit());
process.on('message', (message: Order) => {
  order = message.do;
  if (message.do === 'spin') spin();
  if (message.do === 'attack') void attack(message);
  if (message.do === 'stop') process.send?.(deeds);
});

function spin(): void {
  if (order !== 'spin') return;
  for (const endMs = performance.now() + SPIN_MS; performance.now() < endMs; );
  setImmediate(spin);
}

async function attack({ tls, targets, only }: Extract<Order, { do: 'attack' }>): Promise<void> {
  const member = new Member(tls);
  for (const [name, run] of Object.entries(await makeAttacks(member))) {
    if (!new RegExp(only).test(name)) continue;
    const deed: Deed = { done: 0, refused: 0 };
    deeds[name] = deed;
    // At each node at once.
    for (const target of targets) void goOn(() => run(member, target), deed);
  }
}

async function goOn(run: () => ReturnType<Attack>, deed: Deed): Promise<void> {
  while (order === 'attack') {
    try {
      deed.done += await run();
    } catch (thrown) {
      deed.refused += 1;
      deed.reason = String(thrown);
      await sleep(PAUSE_MS);
    }
    await sleep(1);
  }
}
