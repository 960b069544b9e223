/**
 * The fixed part of the attacks: some of each kind against the host that people run, and a few hundred mutated files. All of them,
 * with what they cost everyone else: `npm run hostile`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Arena } from '../src/arena.ts';
import { ATTACKS } from '../src/attacks/index.ts';
import { STRANGERS } from '../src/attacks/webhook.ts';
import { type Mutated, mutations } from '../src/mutations.ts';
import { breaches as breachesOf } from '../src/report.ts';
import { tried } from '../src/trial.ts';

const SEED = Number(process.env['NANOCLAW_HOSTILE_SEED'] ?? 20_261_201);

describe('a container that', () => {
  let arena: Arena;
  let number = 0;
  beforeAll(async () => {
    arena = await Arena.open(1_000);
  });
  afterAll(() => arena[Symbol.asyncDispose]());

  it.each(ATTACKS.filter(({ name }) => CHOSEN.includes(name)))(
    '$kind … $name: it is held, it is named, and the honest agent answers',
    async (attack) => {
      const { breaches, finding } = await tried(arena, attack, ++number, { watchMs: 1_000, nameMs: 30_000 });
      expect(breaches).toEqual([]);
      expect(finding, 'what the host calls it').toBeDefined();
    },
  );

  it('is told by the table when the host does not say what it does', async () => {
    const [attack] = ATTACKS.filter(({ name }) => name === 'holds a read lock on its own file');
    if (attack === undefined) throw new Error('There is no such attack.');
    const options = { watchMs: 1_000, nameMs: 1_000 };
    const trial = await tried(arena, { ...attack, named: /never said/ }, ++number, options);
    expect(trial.finding).toBeUndefined();
    expect(breachesOf(trial)).toContain('it has no name');
  });
});

/** One or two of each kind. */
const CHOSEN = [
  'a pipe in place of the database',
  'a link to the file of another session in place of the journal',
  'a link to a device that never ends in place of the database',
  'a trigger',
  'pages spoiled with seed 3',
  'JSON of 100 000 levels',
  'five thousand rows that no honest runner writes',
  'to speak in the chat of another',
  'a link to a file of the host',
  'exchanges its database in a tight loop',
];

it('has every attack that the fixed part asks for, and none twice', () => {
  const names = ATTACKS.map(({ name }) => name);
  expect(CHOSEN.filter((name) => !names.includes(name))).toEqual([]);
  const all = [...ATTACKS.map(({ kind, name }) => `${kind} … ${name}`), ...STRANGERS.map(({ name }) => name)];
  expect(all.filter((name, at) => all.indexOf(name) !== at)).toEqual([]);
});

it.each<Mutated>(['databases', 'trees'])(
  `150 mutated %s from seed ${SEED} on are answers about their own session`,
  async (what) => {
    const { answers, breaches } = await mutations(what, SEED, 150);
    expect(breaches, `NANOCLAW_HOSTILE_SEED=${SEED}`).toEqual([]);
    // Some of each end, or chance has spoiled nothing, or everything.
    expect(answers.get('read')).toBeGreaterThan(10);
    expect([...answers.keys()].length).toBeGreaterThan(3);
  },
);
