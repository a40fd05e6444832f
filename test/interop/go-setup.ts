/** Tests with the client in `go/`: each has a node of its own, and is skipped where the client cannot be built. */
import type { ExecutionContext, TestFn } from 'ava';
import type { MeshNode, NodeOptions } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { targetOf } from '../helpers/nodes.js';
import { BUILD_TIMEOUT_MS, GoClient, type Scenario, type ScenarioOptions } from './go-client.js';
import { type Seen, startServing } from './go-node.js';

/** What a test is given. */
export interface Setup {
  readonly node: MeshNode;
  readonly seen: Seen;
  readonly client: GoClient;
  /** Starts a scenario against the node, or against a proxy before it. */
  run(scenario: string, options?: Partial<ScenarioOptions>): Promise<Scenario>;
}

export type InteropTest = (
  title: string,
  body: (t: ExecutionContext, setup: Setup) => Promise<void>,
  options?: Partial<NodeOptions>,
) => void;

/** Longer than a scenario may take. */
const TEST_TIMEOUT_MS = 90_000;

/** Builds the client before the tests of a file, and declares tests with it that run one after the other. */
export function goInterop(test: TestFn): InteropTest {
  let client: GoClient | undefined;
  test.before('build the client', async (t) => {
    t.timeout(BUILD_TIMEOUT_MS);
    client = await GoClient.build();
  });
  test.after.always(() => client?.close());
  return (title, body, options = {}) => {
    test.serial(title, async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      if (client === undefined) return skip(t);
      await body(t, await setUp(t, client, options));
    });
  };
}

/** CI is never without the client. */
function skip(t: ExecutionContext): void {
  t.is(process.env.CI, undefined, 'CI must be able to build it: see system_packages of .ci/run');
  t.log('skipped: Go, or one of the packages named in test/interop/go/main.go, is missing');
}

async function setUp(
  t: ExecutionContext,
  client: GoClient,
  options: Partial<NodeOptions>,
): Promise<Setup> {
  const { node, seen } = await startServing(t, options);
  return {
    node,
    seen,
    client,
    async run(scenario, more = {}) {
      const { nodeId, ...address } = targetOf(node);
      const tls = await nodeCert('n1');
      return client.start(t, scenario, { 'node-id': nodeId, ...address, tls, ...more });
    },
  };
}
