/**
 * `npm run hostile`: tries every attack against the host that people run, and prints a table of what came of each. Exit code 1
 * when one was not held.
 *
 *   npm run hostile -- [--only WORDS] [--seconds N] [--tries N] [--mutations N] [--seed N]
 */
import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Arena } from './arena.ts';
import { ATTACKS } from './attacks/index.ts';
import { STRANGERS } from './attacks/webhook.ts';
import { HonestProgram } from './honest-program.ts';
import { type Mutated, mutations } from './mutations.ts';
import { breaches, costs, HEADING, row } from './report.ts';
import { innocent, type Trial, tried, watch } from './trial.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    seconds: { type: 'string', default: '3' },
    tries: { type: 'string', default: '3' },
    mutations: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
  },
});
const STRANGER = 'at the webhook, a stranger';
const PROGRAM = fileURLToPath(new URL('./stranger.ts', import.meta.url));
const watchMs = Number(values.seconds) * 1_000;
/** What costs the others too much is tried again: what the host does it does each time, and what the machine does it does not. */
const triesMax = Number(values.tries);

let failed = 0;
let attacks = 0;
let number = 0;
const isWanted = (name: string) => name.includes(values.only);
const strangers = STRANGERS.filter(({ name }) => isWanted(`${STRANGER} … ${name}`));
say(HEADING);
{
  // A host that is not attacked, with an honest one of its own.
  await using beside = await Arena.open(watchMs);
  for (const kind of new Set(ATTACKS.map((attack) => attack.kind))) {
    const wanted = ATTACKS.filter((attack) => attack.kind === kind && isWanted(`${kind} … ${attack.name}`));
    if (wanted.length === 0) continue;
    await using arena = await Arena.open(watchMs);
    const undisturbed = { arena: beside, honest: await innocent(beside) };
    begins(kind);
    // The first answers warm it up.
    await watch(arena, await innocent(arena), { watchMs: 500, undisturbed }, async () => undefined);
    for (const attack of wanted)
      await tell(() => tried(arena, attack, ++number, { watchMs, nameMs: 5_000, undisturbed }));
    await ends(arena);
  }
  if (strangers.length > 0) {
    await using arena = await Arena.open(watchMs);
    const honest = new HonestProgram(arena.webhookPort, await arena.endpoint());
    const program = new HonestProgram(beside.webhookPort, await beside.endpoint());
    const undisturbed = { arena: beside, honest: program };
    begins(STRANGER);
    await watch(arena, honest, { watchMs: 500, undisturbed }, async () => undefined);
    for (const { name } of strangers)
      await tell(async () => {
        const door = { port: arena.webhookPort, until: Date.now() + watchMs };
        const watched = await watch(arena, honest, { watchMs, undisturbed }, async () => {
          spawn(process.execPath, [...process.execArgv, PROGRAM, name, JSON.stringify(door)], { stdio: 'ignore' });
        });
        return { ...watched, attack: `${STRANGER} … ${name}`, finding: 'nothing to name' };
      });
    await ends(arena);
  }
}

/** Has an attack tried, and tells what it came to; each time, where it is tried again. */
async function tell(attempt: () => Promise<Trial>): Promise<void> {
  attacks += 1;
  for (let tries = 1; ; tries += 1) {
    const trial = await attempt();
    const [isHeld, isCheap] = [breaches(trial).length === 0, costs(trial).length === 0];
    const isLast = !isHeld || isCheap || tries >= triesMax;
    if (isLast && !(isHeld && isCheap)) failed += 1;
    say(`${row(trial)}${isLast ? '' : '   (tried again)'}`);
    if (isLast) return;
  }
}

function begins(kind: string): void {
  say(`— ${kind} (load of the machine: ${loadavg()[0]?.toFixed(1)})`);
}

async function ends(arena: Arena): Promise<void> {
  say(`— told to stop, the host ended after ${await arena.stop()} ms`);
}

const kinds: readonly Mutated[] = values.only === '' ? ['databases', 'trees'] : [];
for (const what of kinds) {
  const { answers, breaches: found } = await mutations(what, Number(values.seed), Number(values.mutations));
  failed += found.length;
  say(
    `— ${values.mutations} mutated ${what} from seed ${values.seed} on: ${JSON.stringify(Object.fromEntries(answers))}`,
  );
  for (const breach of found) say(`FAILED ${breach}`);
}
say(`${attacks} attacks, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
