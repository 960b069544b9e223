/**
 * The program inside the container: an agent as a process of its own, with the providers that come with NanoClaw and
 * those that its configuration names. Its exit code says why it left.
 *
 *   bun main.js --run ID --config container.json --inbound DIR --outbound DIR --agent DIR [--skills DIR]
 */
import { randomUUID } from 'node:crypto';
import offline from '@nanoclaw/providers/offline';
import { agentProgram, loadProvider, type ProviderModules } from '@nanoclaw/runner';
import { openSqlite } from '@nanoclaw/session-db/bun';
import { clock, processRun, uid } from './process.ts';

const modules: ProviderModules = {
  builtIn: {
    offline: async () => ({ default: offline }),
    // The SDK of a real model is loaded only where it is used: it costs more start-up time than all the rest.
    claude: () => import('@nanoclaw/providers/claude'),
  },
  load: (specifier) => import(specifier),
};

const program = agentProgram({
  provider: (choice, { env, report }) => loadProvider(choice, { clock, env, newId: randomUUID, report, uid }, modules),
  openSqlite,
  clock,
});

process.exit(await program(process.argv.slice(2), processRun()));
