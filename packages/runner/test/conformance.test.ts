import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModelTrouble, type ScriptedTurn, scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import { type ConformanceOptions, type ProviderUnderTest, providerConformance } from '../src/conformance/index.ts';
import type { Prompt, Provider, StartOptions, Turn, TurnEvent } from '../src/index.ts';

function ask(text: string): Prompt {
  return { text, messages: [], done: [] };
}

async function script(turn: ScriptedTurn): Promise<string | null> {
  turn.emit({ type: 'continuation', token: 'c1' });
  switch (turn.prompt.text) {
    case 'answer':
      return 'an answer';
    case 'work':
      return new Promise<never>(() => undefined);
    case 'work briefly':
      return `after ${(await turn.followUp()).text}`;
    case 'use tool':
      return turn.call('send_message', { text: 'hi' }).catch((error: unknown) => String(error));
    case 'use tool twice':
      return `${await turn.call('send_message', { text: 'hi' })} ${await turn.call('send_message', { text: 'hi' })}`;
    case 'use tool badly':
      return turn.call('send_message', { words: 'hi' });
    case 'use tool strictly':
      return turn.call('send_message', { text: 'hi' });
    case 'be refused':
      throw new ModelTrouble('refused', 'the key is wrong');
    case 'be away':
      throw new ModelTrouble('unavailable', 'it is overloaded', 1_000);
    default:
      throw new Error('it fails');
  }
}

const PROMPTS = {
  answer: ask('answer'),
  work: ask('work'),
  workBriefly: ask('work briefly'),
  fail: ask('fail'),
  useTool: ask('use tool'),
  refused: ask('be refused'),
  unavailable: ask('be away'),
};

/** For a provider without tools, follow-ups and a model. */
const PLAIN_PROMPTS = { answer: PROMPTS.answer, work: PROMPTS.work, fail: PROMPTS.fail };

async function open(): Promise<ProviderUnderTest> {
  const cwd = mkdtempSync(join(tmpdir(), 'nanoclaw-provider-'));
  return {
    provider: scriptedProvider(script),
    cwd,
    prompts: PROMPTS,
    close: async () => rmSync(cwd, { recursive: true }),
  };
}

describe('the scripted provider', () => {
  for (const { name, run } of providerConformance(open)) it(name, run);
});

/** The sound provider of this file, but for what each entry breaks. */
type Break = (start: (text?: string) => Turn, prompt: Prompt, options: StartOptions) => Partial<Turn>;

const PROGRESS: TurnEvent = { type: 'progress' };
const USAGE = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };
const BLAMED: TurnEvent = { type: 'error', kind: 'failed', reason: 'x', lostContinuation: false };
const RESULT: TurnEvent = { type: 'result', text: 'x', usage: USAGE };
const DEADLINE_MS = 100;
const LACKS = ['follow-ups', 'resume', 'tools', 'outages'] as const;

async function* of(...events: readonly unknown[]): AsyncGenerator<never, void> {
  for (const event of events) yield broken(event);
}

/** What no provider in TypeScript could give. */
function broken(value: unknown): never {
  return value as never;
}

/** The events of a sound turn, each as `change` makes it. */
function changed(turn: Turn, change: (event: TurnEvent) => readonly unknown[]): Partial<Turn> {
  return {
    events: (async function* () {
      for await (const event of turn.events) yield* of(...change(event));
    })(),
  };
}

/** Events that begin, and then never go on. */
async function* stuck(): AsyncGenerator<TurnEvent, void> {
  yield PROGRESS;
  await new Promise<never>(() => undefined);
}

async function* endless(): AsyncGenerator<TurnEvent, void> {
  for (;;) yield PROGRESS;
}

async function* throwing(): AsyncGenerator<TurnEvent, void> {
  yield PROGRESS;
  throw new Error('Oh,\nno.');
}

const BREAKS: readonly (readonly [what: string, breaks: Break, ends: RegExp])[] = [
  [
    'throws at the start',
    () => {
      throw new Error('No model.');
    },
    /^start\(\) threw, and must not: No model\.$/,
  ],
  ['gives no turn', () => ({ events: broken(undefined) }), /^start\(\) gave no turn/],
  ['never ends a turn', () => ({ events: stuck() }), /^The turn of the prompt "\w+" did not end within 100 ms\.$/],
  ['gives events without end', () => ({ events: endless() }), /^The turn gave 100000 events without an end\.$/],
  [
    'throws instead of an error event',
    () => ({ events: throwing() }),
    /^The turn threw where it must .* event: Oh, no\.$/,
  ],
  ['ends without a result', () => ({ events: of(PROGRESS) }), /^The turn ended without a result or an error\.$/],
  [
    'gives two results',
    (start) => changed(start(), (event) => (event.type === 'result' ? [event, event] : [event])),
    /^The turn has 2 results/,
  ],
  [
    'goes on after its result',
    () => ({ events: of(RESULT, PROGRESS) }),
    /^After its result the turn gave the event progress\.$/,
  ],
  ['gives nothing as an event', () => ({ events: of(undefined) }), /^The turn gave an event that is no object\.$/],
  [
    'gives an event of its own',
    () => ({ events: of({ type: 'thought' }) }),
    /^The turn gave an event of the unknown type thought\.$/,
  ],
  [
    'leaves out its usage',
    () => ({ events: of({ type: 'result', text: 'x' }) }),
    /^The turn gave an event "result" whose usage/,
  ],
  ['gives an answer that is no text', () => ({ events: of({ ...RESULT, text: 1 }) }), /neither text nor null\.$/],
  [
    'gives an error without a reason',
    () => ({ events: of({ type: 'error', kind: 'failed', lostContinuation: false }) }),
    /without a text as "reason"\.$/,
  ],
  [
    'does not say whether a continuation is lost',
    () => ({ events: of({ type: 'error', kind: 'failed', reason: 'x' }) }),
    /whether the continuation is lost\.$/,
  ],
  [
    'does not say whose fault an error is',
    () => ({ events: of({ type: 'error', reason: 'x', lostContinuation: false }) }),
    /"error" whose kind is none of failed, refused and unavailable\.$/,
  ],
  [
    'wants to be left alone for no time that there is',
    () => ({ events: of({ type: 'error', kind: 'unavailable', reason: 'x', retryAfterMs: Number.NaN }) }),
    /"error" whose retryAfterMs is no number from 0\.$/,
  ],
  [
    'blames its messages when its model refuses',
    (start) => changed(start(), (event) => ('kind' in event && event.kind === 'refused' ? [BLAMED] : [event])),
    /^The error of the prompt "refused" is of the kind failed/,
  ],
  [
    'calls for a person when its model is only away',
    (start) =>
      changed(start(), (event) =>
        'kind' in event && event.kind === 'unavailable' ? [{ ...event, kind: 'refused' }] : [event],
      ),
    /^The error of the prompt "unavailable" is of the kind refused/,
  ],
  [
    'blames its model when a turn fails',
    (start) =>
      changed(start(), (event) =>
        'kind' in event && event.kind === 'failed' ? [{ ...event, kind: 'unavailable' }] : [event],
      ),
    /^The error of the failing turn is of the kind unavailable/,
  ],
  [
    'gives an empty token',
    (start) => changed(start(), (event) => (event.type === 'continuation' ? [{ ...event, token: '' }] : [event])),
    /"continuation" without a text as "token"\.$/,
  ],
  [
    'answers with nothing',
    (start) => changed(start(), (event) => (event.type === 'result' ? [{ ...event, text: null }] : [event])),
    /^The result has no text/,
  ],
  [
    'fails where it is to answer',
    () => ({ events: of({ type: 'error', reason: 'x', kind: 'failed', lostContinuation: false }) }),
    /^The turn failed, and must end in a result: x$/,
  ],
  ['answers whatever is asked', () => ({ events: of(RESULT) }), /^The failing turn ended in a result/],
  [
    'says that a continuation is lost that it never had',
    (start) =>
      changed(start(), (event) =>
        event.type === 'error' ? [{ ...event, kind: 'failed', lostContinuation: true }] : [event],
      ),
    /^The error says that the continuation is lost/,
  ],
  [
    'cannot be aborted',
    () => ({ abort: () => undefined }),
    /^The turn of the prompt "work" did not end within 100 ms\.$/,
  ],
  [
    'throws when it is aborted',
    () => ({
      abort: () => {
        throw new Error('Not now.');
      },
    }),
    /abort\(\) threw, and must not: Not now\.$/,
  ],
  [
    'gives another reason for its abort',
    (start) => ({ abort: () => start().abort('I was tired.') }),
    /has another reason than its abort: I was tired\.$/,
  ],
  [
    'takes no follow-up and does not say so',
    () => ({ push: () => false }),
    /^The follow-up was not taken .*lacks: follow-ups\)\.$/,
  ],
  [
    'takes a follow-up after its result',
    (start) => ({
      push: (prompt) => {
        start().push(prompt);
        return true;
      },
    }),
    /^A follow-up was taken after the result/,
  ],
  [
    'takes a follow-up after its error',
    (start, { text }) => (text === 'fail' ? { push: () => true } : { push: start().push }),
    /^A follow-up was taken after the error/,
  ],
  [
    'gives no token and does not say so',
    (start) => changed(start(), (event) => (event.type === 'continuation' ? [] : [event])),
    /^The turn gave no token .*lacks: resume\)\.$/,
  ],
  [
    'cannot resume',
    (start, { text }, { continuation }) => start(continuation === undefined ? text : 'fail'),
    /^The turn failed, and must end in a result: it fails$/,
  ],
  ['calls no tool', (start, { text }) => start(text === 'use tool' ? 'answer' : text), /^The tool was called 0 times/],
  [
    'calls a tool twice',
    (start, { text }) => start(text === 'use tool' ? 'use tool twice' : text),
    /^The tool was called 2 times/,
  ],
  [
    'calls a tool without its input',
    (start, { text }) => start(text === 'use tool' ? 'use tool badly' : text),
    /^The tool was not given the input/,
  ],
  [
    'does not say that a tool began',
    (start) => changed(start(), (event) => (event.type === 'tool-started' ? [] : [event])),
    /under an id that no tool was started with\.$/,
  ],
  [
    'does not say that a tool ended',
    (start) => changed(start(), (event) => (event.type === 'tool-ended' ? [] : [event])),
    /^A tool was started, and no event says that it ended\.$/,
  ],
  [
    'gives a tool a name of its own',
    (start) =>
      changed(start(), (event) =>
        event.type === 'tool-started' ? [{ ...event, name: 'mcp__send_message' }] : [event],
      ),
    /^No event says that the tool send_message was started\.$/,
  ],
  [
    'fails when a tool throws',
    (start, { text }) => start(text === 'use tool' ? 'use tool strictly' : text),
    /^The turn ended in an error because a tool threw/,
  ],
];

const OVER_TOO_EARLY =
  'The turn of the prompt "workBriefly" was over before push() or abort() could reach it, and must be at work until then';

function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** What each case comes to, with the provider that `change` makes of the sound one. */
async function sentences(
  change: (sound: Provider) => Provider,
  options: ConformanceOptions = {},
  more: Partial<ProviderUnderTest> = {},
): Promise<string[]> {
  const openChanged = async (): Promise<ProviderUnderTest> => {
    const opened = await open();
    return { ...opened, provider: change(opened.provider), ...more };
  };
  const cases = providerConformance(openChanged, { deadlineMs: DEADLINE_MS, ...options });
  const found = await Promise.all(
    cases.map(({ run }) =>
      run().then(
        () => [],
        (error: unknown) => [error instanceof Error ? error.message : `thrown: ${String(error)}`],
      ),
    ),
  );
  return found.flat();
}

describe('the suite finds a provider that', () => {
  it.each(BREAKS)('%s', async (_what, breaks, sentence) => {
    const found = await sentences((sound) => ({
      name: 'broken',
      start: (prompt, options) => {
        let turn: Turn | undefined;
        // The prompt of the first call counts.
        const begun = (text = prompt.text): Turn => {
          turn ??= sound.start({ ...prompt, text }, options);
          return turn;
        };
        const part = breaks(begun, prompt, options);
        return { events: begun().events, push: begun().push, abort: begun().abort, ...part };
      },
    }));
    expect(found.filter((each) => sentence.test(each))).not.toEqual([]);
    // One sentence each, and no dump of what was found.
    expect(found.filter((each) => each.includes('\n') || each.length > 400)).toEqual([]);
  });

  it('cannot be opened, or does not close', async () => {
    const [first] = providerConformance(never, { deadlineMs: 10 });
    await expect(first?.run()).rejects.toThrow('Opening the provider did not end within 10 ms.');
    const found = await sentences((sound) => sound, {}, { close: never });
    expect(found).toContain('Closing the provider did not end within 100 ms.');
  });

  it.each<[string, readonly unknown[], string]>([
    ['with a result', [RESULT], `${OVER_TOO_EARLY}.`],
    [
      'with an error',
      [{ type: 'error', reason: 'No.', kind: 'failed', lostContinuation: false }],
      `${OVER_TOO_EARLY}: No.`,
    ],
    ['without a word', [], 'The turn ended without a result or an error.'],
  ])('ends a turn %s before a follow-up can reach it, and blames no follow-up', async (_how, events, sentence) => {
    const over = (): Turn => ({ events: of(...events), push: () => false, abort: () => undefined });
    const found = await sentences((sound) => ({
      name: 'quick',
      start: (prompt, options) => (prompt.text === 'work briefly' ? over() : sound.start(prompt, options)),
    }));
    expect(found).toEqual([sentence]);
  });

  it('says that it lacks what it has', async () => {
    expect(await sentences((sound) => sound, { lacks: LACKS })).toEqual([
      'A follow-up was taken by a provider that says that it takes none.',
      'A token to resume with came from a provider that says that it has none.',
    ]);
  });

  it('has no prompt for what it does not say that it lacks', async () => {
    const found = await sentences((sound) => sound, {}, { prompts: PLAIN_PROMPTS });
    expect(new Set(found)).toEqual(
      new Set(
        ['workBriefly', 'useTool', 'refused', 'unavailable'].map(
          (name) => `The suite was given no prompt "${name}", and the provider says that it can do this.`,
        ),
      ),
    );
  });
});

/** A provider with nothing but answers. */
function plain(): Provider {
  return {
    name: 'plain',
    start: (prompt) => {
      const aborted = Promise.withResolvers<string>();
      return {
        events: (async function* () {
          if (prompt.text === 'answer') yield RESULT;
          else
            yield {
              type: 'error',
              reason: prompt.text === 'work' ? await aborted.promise : 'x',
              kind: 'failed',
              lostContinuation: false,
            };
        })(),
        push: () => false,
        abort: aborted.resolve,
      };
    },
  };
}

it('a provider passes that has no tools, follow-ups and tokens, tells nothing while it works, and says so', async () => {
  expect(await sentences(plain, { lacks: LACKS }, { prompts: PLAIN_PROMPTS })).toEqual([]);
});
