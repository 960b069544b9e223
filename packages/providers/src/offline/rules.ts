/**
 * What the offline agent understands: plain requests, by rules. Pure; `offline.ts` does what is decided here.
 *
 * It exists so that people without a key, and tests, can make use of everything the product does.
 */
import type { Content, DoneEffect } from '@nanoclaw/runner';
import type { DeferralKind, InboundMessage, Millis } from '@nanoclaw/session-db';
import { cut } from '@nanoclaw/session-db/text';

/** What to do about one message, in order; what the steps say together is the answer. */
export type Step =
  | { readonly type: 'say'; readonly text: string }
  | { readonly type: 'think'; readonly ms: Millis }
  | { readonly type: 'fail'; readonly reason: string }
  /** As if there were a model, and it were in the way. */
  | { readonly type: 'defer'; readonly kind: DeferralKind; readonly reason: string; readonly retryAfterMs?: Millis }
  /** As if there were a model, and it gave no sign. */
  | { readonly type: 'hang' }
  | { readonly type: 'write-file'; readonly name: string; readonly text: string }
  /** `isQuiet`: its result is not said, because people see it anyway. */
  | {
      readonly type: 'tool';
      readonly name: string;
      readonly input: Record<string, unknown>;
      readonly isQuiet: boolean;
    };

/** What a rule knows besides the message. */
export interface StepOptions {
  readonly now: Millis;
  /** What was asked in the turn before; `undefined` in a new conversation. */
  readonly before: string | undefined;
  /** What an attempt that was cut off has done: a task that is scheduled already is for the time that it was given then. */
  readonly done: readonly DoneEffect[];
}

/** The steps for one message. */
export function steps(message: InboundMessage, content: Content, situation: StepOptions): Step[] {
  switch (content.type) {
    case 'chat':
      return stepsForText(content.text, message, situation);
    case 'task': {
      const data = content.data === undefined ? '' : ` (${JSON.stringify(content.data)})`;
      const spoken = /^say:? (.+)$/is.exec(content.prompt)?.[1];
      return [say(`${spoken ?? `Task: ${quoted(content.prompt)}`}${data}`)];
    }
    case 'webhook':
      return [say(`${content.source} reports ${content.event}.`)];
    case 'result':
      return content.status === 'ok'
        ? [say(`${content.action}: ${content.text}`)]
        : [say(`${content.action} failed: ${content.text}`)];
    case 'command':
      return [say(`${content.command} means nothing to the offline agent, which keeps no conversation.`)];
  }
}

type Rule = readonly [pattern: RegExp, steps: (found: Found) => Step[]];

interface Found {
  readonly words: readonly string[];
  readonly message: InboundMessage;
  readonly situation: StepOptions;
}

const UNIT_MS: Readonly<Record<string, Millis>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** In the order in which they are tried; each matches the whole request. */
const RULES: readonly Rule[] = [
  [/^(?:be quiet|say nothing)$/i, () => []],
  [/^(?:help|\?)$/i, () => [say(HELP)]],
  [
    /^think(?: for)? (\d+(?:\.\d+)?) ?s(?:ec(?:onds?)?)?$/i,
    ({ words: [s = '1'] }) => [think(Number(s) * 1_000), say(`Done thinking, after ${s} s.`)],
  ],
  [/^fail(?: with)?(?: (.+))?$/i, ({ words: [why] }) => [{ type: 'fail', reason: why ?? 'You asked me to fail.' }]],
  [
    /^be (refused|away)(?: for (\d+) ?s(?:ec(?:onds?)?)?)?$/i,
    ({ words: [how = '', s], message, situation }) => deferred(how.toLowerCase(), s, message.timestamp, situation.now),
  ],
  [/^hang$/i, () => [{ type: 'hang' }]],
  [
    /^remind me in (\d+) ?(s|m|h|d)[a-z]* (?:to |about |that )?(.+)$/i,
    ({ words: [count = '1', unit = 's', what = ''], situation }) => [
      schedule(
        situation,
        situation.now + Number(count) * (UNIT_MS[unit.toLowerCase()] ?? 1_000),
        `say: Reminder: ${what}`,
      ),
    ],
  ],
  [
    /^every (\d+ )?(minute|hour|day)s?,? (?:say |tell me )?(.+)$/i,
    ({ words: [count = '1', unit = 'minute', what = ''], situation }) => {
      const recurrence = recurrenceOf(Number(count), unit.toLowerCase());
      return [schedule(situation, nextStart(situation.now, unit.toLowerCase()), `say: ${what}`, recurrence)];
    },
  ],
  [
    /^ask me (?:within (\d+) ?s(?:ec(?:onds?)?)? )?(?:about )?(.+?),? or (.+?)\??$/i,
    ({ words: [within = '300', first = '', second = ''] }) => {
      const options = [...first.split(/, ?/), second].filter((option) => option !== '');
      const question = `${options.join(', ')}?`;
      return [tool('ask_user_question', { title: 'A question', question, options, timeout: Number(within) })];
    },
  ],
  [
    /^send (?:me )?a file(?: (?:named|called) (\S+))?$/i,
    // The time of the message: a second attempt writes the same file.
    ({ words: [name = 'note.txt'], message }) => [
      {
        type: 'write-file',
        name,
        text: `Written by the offline agent at ${new Date(message.timestamp).toISOString()}.\n`,
      },
      tool('send_file', { path: name, text: 'Here is your file.' }, true),
    ],
  ],
  [
    /^react(?: with (\S+))?$/i,
    ({ words: [emoji = '👍'], message }) => [tool('add_reaction', { messageId: message.seq, emoji }, true)],
  ],
  [
    /^edit message (\d+)(?: to)? (.+)$/is,
    ({ words: [id = '1', what = ''] }) => [tool('edit_message', { messageId: Number(id), text: what }, true)],
  ],
  [
    /^send me a card$/i,
    () => [
      tool(
        'send_card',
        { card: { title: 'A card', text: 'from the offline agent' }, fallbackText: 'A card from the offline agent' },
        true,
      ),
    ],
  ],
  [
    /^(?:tell|send to) (\S+?):? (.+)$/is,
    ({ words: [to = '', what = ''] }) => [tool('send_message', { text: what, to })],
  ],
  [
    /^say (.+) (\d+) times$/is,
    ({ words: [what = '', times = '1'] }) =>
      Array.from({ length: Math.min(Number(times), 20) }, () => tool('send_message', { text: what }, true)),
  ],
  [/^say (.+)$/is, ({ words: [what = ''] }) => [say(what)]],
  [/^(?:list|show)(?: my)? tasks$/i, () => [tool('list_tasks', {})]],
  [
    /^(cancel|pause|resume) task (\S+)$/i,
    ({ words: [verb = '', taskId = ''] }) => [tool(`${verb.toLowerCase()}_task`, { taskId })],
  ],
  [
    /^change task (\S+?) to (.+)$/is,
    ({ words: [taskId = '', what = ''] }) => [tool('update_task', { taskId, prompt: `say: ${what}` })],
  ],
  [
    /^create(?: an)? agent (\S+)(?: (?:to|for) (.+))?$/is,
    ({ words: [name = '', what] }) => [
      tool('create_agent', { name, ...(what === undefined ? {} : { instructions: what }) }),
    ],
  ],
  [
    /^install (\S+)$/i,
    ({ words: [name = ''] }) => [tool('install_packages', { apt: [name], reason: 'You asked for it.' })],
  ],
  [
    /^add server (\S+) (\S+)$/i,
    ({ words: [name = '', command = ''] }) => [tool('add_mcp_server', { name, command, reason: 'You asked for it.' })],
  ],
  [
    /^what did i (?:just )?say(?: before)?\??$/i,
    ({ situation: { before } }) => [
      say(before === undefined ? 'Nothing: this is a new conversation.' : `You said ${quoted(before)}.`),
    ],
  ],
];

const HELP = [
  'I am the offline agent: rules and no model. Try:',
  'remind me in 10 seconds to stretch · every minute say hi · list tasks · pause, resume or cancel task ID',
  'ask me tea or coffee · ask me within 10 seconds tea or coffee · send me a file · send me a card · react',
  'edit message 3 to hello · tell NAME hello · install PACKAGE · add server NAME COMMAND · create agent NAME to help',
  'think for 5 seconds · fail · be away for 60 seconds · be refused · hang · say nothing · what did I say',
].join('\n');

function stepsForText(text: string, message: InboundMessage, situation: StepOptions): Step[] {
  const request = text.trim();
  for (const [pattern, make] of RULES) {
    const [whole, ...words] = pattern.exec(request) ?? [];
    if (whole !== undefined) return make({ words: words.map((word) => word?.trim()), message, situation });
  }
  return [
    say(`You said ${quoted(request)}. I am the offline agent and answer by rules; say "help" to see what I can do.`),
  ];
}

/** At the start of the next minute, hour or day of UTC, so that the first time is a time of the series. */
function nextStart(now: Millis, unit: string): Millis {
  const ms = UNIT_MS[unit.charAt(0)] ?? 60_000;
  return (Math.floor(now / ms) + 1) * ms;
}

/** As cron where a step of it comes at equal distances, else as an interval. */
function recurrenceOf(count: number, unit: string): string {
  const every = count > 1 ? `*/${count}` : '*';
  if (unit === 'minute' && 60 % count === 0 && count < 60) return `${every} * * * *`;
  if (unit === 'hour' && 24 % count === 0 && count < 24) return `0 ${every} * * *`;
  return count === 1 && unit === 'day' ? '0 0 * * *' : `every ${count} ${unit}s`;
}

/** In the way for so many seconds after the message was sent, or for ever. */
function deferred(how: string, seconds: string | undefined, sentAt: Millis, now: Millis): Step[] {
  const leftMs = seconds === undefined ? undefined : sentAt + Number(seconds) * 1_000 - now;
  if (leftMs !== undefined && leftMs <= 0) return [say(`I am back, after ${seconds} s.`)];
  if (how === 'refused') return [{ type: 'defer', kind: 'refused', reason: 'You asked me to be refused.' }];
  const retryAfterMs = leftMs === undefined ? {} : { retryAfterMs: leftMs };
  return [{ type: 'defer', kind: 'unavailable', reason: 'You asked me to be away.', ...retryAfterMs }];
}

function schedule({ done }: StepOptions, at: Millis, prompt: string, recurrence?: string): Step {
  const before = done.find(
    ({ tool: name, content }) =>
      name === 'schedule_task' && content['prompt'] === prompt && content['recurrence'] === recurrence,
  )?.content['processAfter'];
  const processAfter = new Date(typeof before === 'number' ? before : at).toISOString();
  return tool('schedule_task', { prompt, processAfter, ...(recurrence === undefined ? {} : { recurrence }) });
}

function say(text: string): Step {
  return { type: 'say', text };
}

function think(ms: Millis): Step {
  return { type: 'think', ms: Math.min(ms, 3_600_000) };
}

function tool(name: string, input: Record<string, unknown>, isQuiet = false): Step {
  return { type: 'tool', name, input, isQuiet };
}

/** Bounded, so that the answer to a long text is not as long again. */
function quoted(text: string): string {
  return `“${cut(text, 200)}”`;
}
