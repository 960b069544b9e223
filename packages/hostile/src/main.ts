/**
 * `npm run hostile`: tries every attack against the host that people run, and prints a table of what came of each. Exit code 1
 * when one was not held.
 *
 *   npm run hostile -- [--only WORDS] [--seconds N] [--mutations N] [--seed N]
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Arena } from './arena.ts';
import { ATTACKS } from './attacks/index.ts';
import { STRANGERS } from './attacks/webhook.ts';
import { HonestProgram } from './honest-program.ts';
import { type Mutated, mutations } from './mutations.ts';
import { HEADING, row, shortfalls } from './report.ts';
import { type Honest, innocent, type Trial, tried, watch } from './trial.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '2' },
    mutations: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
  },
});
const STRANGER = 'at the webhook, a stranger';
const PROGRAM = fileURLToPath(new URL('./stranger.ts', import.meta.url));
const watchMs = Number(values.seconds) * 1_000;

let failed = 0;
let number = 0;
const isWanted = (name: string) => name.includes(values.only);
say(HEADING);
for (const kind of new Set(ATTACKS.map((attack) => attack.kind))) {
  const attacks = ATTACKS.filter((attack) => attack.kind === kind && isWanted(`${kind} … ${attack.name}`));
  if (attacks.length === 0) continue;
  await using arena = await Arena.open(watchMs);
  await series(arena, kind, await innocent(arena), async function* () {
    for (const attack of attacks) yield await tried(arena, attack, ++number, { watchMs, nameMs: 5_000 });
  });
}
const strangers = STRANGERS.filter(({ name }) => isWanted(`${STRANGER} … ${name}`));
if (strangers.length > 0) {
  await using arena = await Arena.open(watchMs);
  const honest = new HonestProgram(arena.webhookPort, await arena.endpoint());
  await series(arena, STRANGER, honest, async function* () {
    for (const { name } of strangers) {
      number += 1;
      const door = { port: arena.webhookPort, until: Date.now() + watchMs };
      const watched = await watch(arena, honest, watchMs, async () => {
        spawn(process.execPath, [...process.execArgv, PROGRAM, name, JSON.stringify(door)], { stdio: 'ignore' });
      });
      yield { ...watched, attack: `${STRANGER} … ${name}`, finding: 'nothing to name' };
    }
  });
}

/** Trials against one host, each with its line, measured against the same host undisturbed. */
async function series(
  arena: Arena,
  kind: string,
  honest: Honest,
  trials: () => AsyncGenerator<Trial, void>,
): Promise<void> {
  // The first answers warm it up.
  await watch(arena, honest, 500, async () => undefined);
  const baseline = await watch(arena, honest, watchMs, async () => undefined);
  say(`— ${kind}: undisturbed, an answer takes ${Math.round(baseline.delayMs)} ms`);
  for await (const trial of trials()) {
    if (shortfalls(trial, baseline).length > 0) failed += 1;
    say(row(trial, baseline));
  }
  say(`— told to stop, the host ended after ${await arena.stop()} ms`);
}

const kinds: readonly Mutated[] = values.only === '' ? ['databases', 'trees'] : [];
for (const what of kinds) {
  const { answers, breaches } = await mutations(what, Number(values.seed), Number(values.mutations));
  failed += breaches.length;
  say(
    `— ${values.mutations} mutated ${what} from seed ${values.seed} on: ${JSON.stringify(Object.fromEntries(answers))}`,
  );
  for (const breach of breaches) say(`FAILED ${breach}`);
}
say(`${number} attacks, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
