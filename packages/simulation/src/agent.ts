/**
 * The scripted agent: it answers each message with its number, after a while, unless the message says that it is to do
 * something else. What it does is a function of the message and of how often it was tried, so that a history means the
 * same in every run.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IncomingFile } from '@nanoclaw/channels';
import { ModelTrouble, type ScriptedTurn, scriptedProvider } from '@nanoclaw/providers/scripted';
import type { Provider, ScriptEnd } from '@nanoclaw/runner';
import type { InboundMessage } from '@nanoclaw/session-db';
import { messageFiles } from '@nanoclaw/session-db/protocol';
import type { Actor, World } from './world.ts';

/** How a message is to be worked on. In its text, after its number. */
export const MOODS = [
  'answer',
  'slow',
  'error-once',
  'error-always',
  'hang-once',
  'tool',
  'later',
  'daily',
  'die-once',
  'silent',
  'file',
  'script',
] as const;
/**
 * Some are for the worlds that are about them. `often`: a slow task every ten minutes; `moody`: a task every two hours that is
 * `flaky`, and given up at some of them.
 */
export type Mood = (typeof MOODS)[number] | (typeof RARE_MOODS)[number];
const RARE_MOODS = ['often', 'moody', 'flaky'] as const;

/** The text of message `number`. */
export function saying(number: number, mood: Mood): string {
  return `[${number}] ${mood}`;
}

/** Begins a text that was said in mid-turn, before the turn's claims were ended. */
export const BY_TOOL = 'by tool:';

/** What a text answers: `re[17]` for message 17, `did[ID]` for the occurrence with that id. */
export function answers(text: string): string[] {
  return text.startsWith(BY_TOOL) ? [] : (text.match(/(re|did)\[[^\]]+\]/g) ?? []);
}

/** What comes with message `number`, when something does. */
export function broughtFile(number: number): IncomingFile {
  return {
    name: 'brought.txt',
    bytes: async function* () {
      yield Buffer.from(broughtWith(number).slice(0, 5));
      yield Buffer.from(broughtWith(number).slice(5));
    },
  };
}

function broughtWith(number: number): string {
  return `brought with [${number}]`;
}

/** Says that a file which came with a message is not where the agent looks for it. */
export const LOST_FILE = 'lost file';

/** The captions of a text: `file[17]` for the file that message 17 asked for. */
export function captions(text: string): number[] {
  return [...text.matchAll(/file\[(\d+)\]/g)].map(([, number]) => Number(number));
}

/** What is in the file that message `number` asked for. */
export function sentFor(number: number): string {
  return `sent for [${number}]`;
}

/** How a task's script ends, by its whole text. */
export const SCRIPTS = ['wakes', 'skips', 'fails', 'overruns'] as const;

/** The agent in one run. `files` is where it sees what came with messages. */
export function agent(world: World, actor: Actor, files: string): Provider {
  return scriptedProvider((turn) => script(turn, world, actor, files));
}

/** Runs a task's script, as `apps/agent-runner` runs them in bash. */
export async function runScript(text: string, signal: AbortSignal, world: World): Promise<ScriptEnd> {
  await world.pause(world.chance.wait('script', 20, 25_000));
  if (signal.aborted) return { type: 'aborted' };
  const isWell = world.chance.happens('script ends well', 0.5);
  if (text === 'overruns' && !isWell) return { type: 'timed-out' };
  if (text === 'fails' && !isWell) return { type: 'exited', code: 1, stdout: '', stderr: 'no such command' };
  return { type: 'exited', code: 0, stdout: `{"wakeAgent":${text !== 'skips'}}`, stderr: '' };
}

async function script(turn: ScriptedTurn, world: World, actor: Actor, files: string): Promise<string | null> {
  turn.emit({ type: 'continuation', token: `conversation of ${actor.name}` });
  const said: string[] = [];
  for (const message of turn.prompt.messages) {
    if (message.kind !== 'chat' && message.kind !== 'task') continue;
    const asked = askedIn(message);
    if (asked === undefined) continue;
    await workOn(asked.mood, message, turn, world, actor);
    if (isWithoutItsFiles(message, asked.number, files)) said.push(`${LOST_FILE} of ${message.id}`);
    const answer = message.kind === 'task' ? `did[${message.id}]` : `re[${asked.number}]`;
    // Some are answered by a tool, and others of the same turn by its final text.
    if (asked.mood !== 'tool' && asked.mood !== 'file') said.push(answer);
    else await turn.call('send_message', { text: `${BY_TOOL} ${answer}` });
    await dies(asked.mood, message, world, actor);
  }
  return said.length === 0 ? null : said.join('\n');
}

/** A turn that has acted, and is cut off. */
async function dies(mood: Mood, { id, tries }: InboundMessage, world: World, actor: Actor): Promise<void> {
  if (mood !== 'tool' && mood !== 'file') return;
  const name = `${id}#${tries}`;
  if (!world.chance.happens(`cut off ${name}`, 0.3)) return;
  const touch = actor.touches + 1 + world.chance.whole(`cut off after ${name}`, 0, 3);
  actor.crashPoint = { touch, where: { share: world.chance.share(`cut off at ${name}`) }, with: 'alone' };
}

function isWithoutItsFiles({ id, content }: InboundMessage, number: number, files: string): boolean {
  if (!Array.isArray(content['attachments'])) return false;
  const path = join(messageFiles(files, id), 'brought.txt');
  return !existsSync(path) || readFileSync(path, 'utf8') !== broughtWith(number);
}

function askedIn({ content }: InboundMessage): { number: number; mood: Mood } | undefined {
  const text = content['text'] ?? content['prompt'];
  const [, number, word] = (typeof text === 'string' ? /^\[(\d+)\] ([a-z-]+)$/.exec(text) : null) ?? [];
  const mood = [...MOODS, ...RARE_MOODS].find((known) => known === word);
  return number === undefined || mood === undefined ? undefined : { number: Number(number), mood };
}

async function workOn(
  mood: Mood,
  message: InboundMessage,
  turn: ScriptedTurn,
  world: World,
  actor: Actor,
): Promise<void> {
  const isFirst = message.tries === 0;
  const name = `${message.id}#${message.tries}`;
  await world.pause(world.chance.wait(`think ${name}`, 10, 3_000));
  if (world.modelTrouble !== undefined)
    throw new ModelTrouble(world.modelTrouble, `The model is ${world.modelTrouble}.`);
  turn.emit({ type: 'progress' });
  switch (mood) {
    case 'slow':
      for (let rounds = world.chance.whole(`slow ${name}`, 2, 8); rounds > 0; rounds--) {
        await world.pause(20_000);
        turn.emit({ type: 'progress' });
      }
      return;
    case 'error-always':
      throw new Error('The model cannot do this.');
    case 'error-once':
      if (isFirst) throw new Error('The model has a bad day.');
      return;
    case 'hang-once':
      if (isFirst) await new Promise(() => undefined);
      return;
    case 'die-once':
      if (isFirst)
        actor.crashPoint = {
          touch: actor.touches + 1 + world.chance.whole(`die ${name}`, 0, 3),
          where: { share: world.chance.share(`die at ${name}`) },
          with: 'alone',
        };
      return;
    case 'later': {
      const prompt = saying(numberOf(message), 'answer');
      const at = world.wall('runner') + world.chance.wait(`later ${name}`, 60_000, 7_200_000);
      await turn.call('schedule_task', { prompt, processAfter: scheduledFor(prompt, at, turn) });
      return;
    }
    case 'daily':
      await turn.call('schedule_task', { prompt: saying(numberOf(message), 'answer'), recurrence: '17 */2 * * *' });
      return;
    case 'often':
      await turn.call('schedule_task', { prompt: saying(numberOf(message), 'slow'), recurrence: '*/10 * * * *' });
      return;
    case 'script': {
      const prompt = saying(numberOf(message), 'answer');
      const bash = SCRIPTS[numberOf(message) % SCRIPTS.length];
      const at = world.wall('runner') + world.chance.wait(`script at ${name}`, 5_000, 600_000);
      await turn.call('schedule_task', { prompt, script: bash, processAfter: scheduledFor(prompt, at, turn) });
      return;
    }
    case 'moody':
      await turn.call('schedule_task', { prompt: saying(numberOf(message), 'flaky'), recurrence: '17 */2 * * *' });
      return;
    case 'flaky':
      if (goesBadly(message)) throw new Error('The model cannot do this today.');
      return;
    case 'file': {
      const number = numberOf(message);
      writeFileSync(join(turn.options.cwd, `${number}.txt`), sentFor(number));
      await turn.call('send_file', { path: `${number}.txt`, text: `${BY_TOOL} file[${number}]` });
      return;
    }
    case 'silent':
      await world.pause(world.chance.whole(`silent ${name}`, 1_000, 40_000));
      return;
    case 'tool':
    case 'answer':
  }
}

/** When a task is to be done: at `at`, or when an attempt that was cut off has scheduled it for. */
function scheduledFor(prompt: string, at: number, turn: ScriptedTurn): string {
  const before = turn.prompt.done.find(({ content }) => content['prompt'] === prompt)?.content['processAfter'];
  return new Date(typeof before === 'number' ? before : at).toISOString();
}

/** Two of three occurrences of a flaky task go well. */
function goesBadly({ id }: InboundMessage): boolean {
  return Math.floor(Number(id.split('@').at(-1)) / 7_200_000) % 3 === 0;
}

function numberOf(message: InboundMessage): number {
  return askedIn(message)?.number ?? 0;
}
