/** `npm run certs -- n1 n2 …`: fills a directory with a development CA and a certificate for each node. */
import { Command, InvalidArgumentError } from 'commander';
import { textOf } from '../src/base/realms.js';
import { writeDevCerts } from '../src/certs/index.js';

interface CertsOptions {
  readonly out: string;
  readonly days: number;
  readonly force: boolean;
}

await new Command('certs')
  .description('Make development certificates for nodes, signed by a development CA')
  .argument('<node-id...>', 'node ids: DNS names such as n1 or db-3.local')
  .option('--out <directory>', 'where the files go', 'certs')
  .option('--days <count>', 'how long new node certificates are valid', wholeNumber, 365)
  .option('--force', 'make a new CA and new keys in place of existing ones', false)
  .action(run)
  .parseAsync();

async function run(nodeIds: string[], options: CertsOptions): Promise<void> {
  try {
    const { paths, written } = await writeDevCerts(options.out, nodeIds, {
      validityDays: options.days,
      force: options.force,
    });
    const files = Object.values<{ cert: string; key: string }>(paths.nodes);
    for (const path of [paths.ca, paths.caKey, ...files.flatMap(({ cert, key }) => [cert, key])]) {
      console.log(`${written.includes(path) ? 'wrote' : 'kept '} ${path}`);
    }
  } catch (error) {
    console.error(`error: ${textOf(error)}`);
    process.exitCode = 1;
  }
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
