/**
 * The suite that every provider must pass. It knows no test framework: a case is a name and a function that rejects with
 * one sentence when the provider breaks that promise. Every wait has a deadline, so no provider makes it hang.
 *
 *   for (const { name, run } of providerConformance(open)) test(name, run);
 */
import type { Millis } from '@nanoclaw/session-db';
import { oneLine } from '@nanoclaw/session-db/text';
import type { Prompt, Provider, StartOptions, Tool, Turn, TurnEnd, TurnEvent } from '../provider.ts';

/** One promise of the port. `run` rejects with an `Error` whose message is one sentence when the provider breaks it. */
export interface ProviderCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** What a provider may do without, if it says so. */
export type ProviderLack =
  /** It calls no tools. */
  | 'tools'
  /** It takes no follow-ups: `push` is always false. */
  | 'follow-ups'
  /** It has no continuation: no turn gives a token. */
  | 'resume'
  /** It asks no model that could refuse it or be away: no error is `refused` or `unavailable`. */
  | 'outages';

/** What the conformance cases are told of a provider. */
export interface ConformanceOptions {
  /** What the provider does without; the cases then check that it really does. Nothing, when left out. */
  readonly lacks?: readonly ProviderLack[];
  /** How long opening, closing and each turn may take; 30 s when left out. */
  readonly deadlineMs?: Millis;
}

/** A provider with a model, or the fake of one, that behaves as each prompt asks. Each case opens one of its own. */
export interface ProviderUnderTest {
  /** A new one, that has no turn yet. */
  readonly provider: Provider;
  /** A folder for the agent. */
  readonly cwd: string;
  /** What to ask for each behaviour. */
  readonly prompts: {
    /** Answered with some text, at once. */
    readonly answer: Prompt;
    /** Works until it is aborted. */
    readonly work: Prompt;
    /** The turn fails: with an `error` event, and not with a throw. */
    readonly fail: Prompt;
    /** Works for long enough that a follow-up is pushed meanwhile, and ends by itself. Not for one without follow-ups. */
    readonly workBriefly?: Prompt;
    /** Calls the tool `send_message` with a text, once, then answers with some text. Not for one without tools. */
    readonly useTool?: Prompt;
    /** The model refuses, as with a wrong key. Not for one without outages. */
    readonly refused?: Prompt;
    /** The model is away. Not for one without outages. */
    readonly unavailable?: Prompt;
  };
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/** The cases for one provider. */
export function providerConformance(
  open: () => Promise<ProviderUnderTest>,
  { lacks = [], deadlineMs = DEADLINE_MS }: ConformanceOptions = {},
): ProviderCase[] {
  return Object.entries({
    ...CASES,
    ...(lacks.includes('tools') ? {} : TOOL_CASES),
    ...(lacks.includes('outages') ? {} : OUTAGE_CASES),
    ...(lacks.includes('follow-ups') ? WITHOUT_FOLLOW_UPS : WITH_FOLLOW_UPS),
    ...(lacks.includes('resume') ? WITHOUT_RESUME : WITH_RESUME),
  }).map(([name, check]) => ({ name, run: () => checked(open, check, deadlineMs) }));
}

const DEADLINE_MS: Millis = 30_000;

type Check = (tested: Tested) => Promise<void>;

async function checked(open: () => Promise<ProviderUnderTest>, check: Check, deadlineMs: Millis): Promise<void> {
  const opened = await within(deadlineMs, 'Opening the provider', open());
  try {
    await check(new Tested(opened, deadlineMs));
  } catch (error) {
    // What the case found is the news, whatever closing comes to.
    await within(deadlineMs, 'Closing the provider', opened.close()).catch(() => undefined);
    throw error;
  }
  await within(deadlineMs, 'Closing the provider', opened.close());
}

const CASES: Readonly<Record<string, Check>> = {
  'an answered prompt ends in one result, and it is the last event': async (tested) => {
    const { end } = await tested.played('answer');
    requireResult(end);
    must(end.text !== null && end.text !== '', 'The result has no text, and the prompt asks for some.');
  },

  'a failing turn ends in one error with a reason, and does not throw': async (tested) => {
    const { end } = await tested.played('fail');
    must(end.type === 'error', 'The failing turn ended in a result, and must end in an error.');
    must(end.reason.trim() !== '', 'The error of the failing turn has no reason.');
    must(
      end.kind === 'failed',
      `The error of the failing turn is of the kind ${end.kind}, and must be "failed": it is not the model that is in the way.`,
    );
    must(!end.lostContinuation, 'The error says that the continuation is lost, and the turn was given none.');
  },

  'an aborted turn ends in an error with the reason of the abort': async (tested) => {
    const { end } = await tested.played('work', { meanwhile: (turn) => turn.abort(ABORT_REASON) });
    must(end.type === 'error', 'The aborted turn ended in a result, and must end in an error.');
    must(end.reason.includes(ABORT_REASON), `The aborted turn has another reason than its abort: ${brief(end.reason)}`);
  },

  'a turn that is aborted before its events are read ends in an error': async (tested) => {
    const { end } = await tested.played('work', { before: (turn) => turn.abort('too early') });
    must(end.type === 'error', 'The turn that was aborted at once ended in a result, and must end in an error.');
  },
};

const OUTAGE_CASES: Readonly<Record<string, Check>> = {
  'a model that refuses ends the turn in an error that says so': (tested) => requireKind(tested, 'refused'),
  'a model that is away ends the turn in an error that says so': (tested) => requireKind(tested, 'unavailable'),
};

async function requireKind(tested: Tested, kind: 'refused' | 'unavailable'): Promise<void> {
  const { end } = await tested.played(kind);
  must(end.type === 'error', `The turn of the prompt "${kind}" ended in a result, and must end in an error.`);
  must(end.reason.trim() !== '', `The error of the prompt "${kind}" has no reason.`);
  must(
    end.kind === kind,
    `The error of the prompt "${kind}" is of the kind ${end.kind}, so its messages would be treated as if they were at fault, or the model's trouble as another.`,
  );
}

const ABORT_REASON = 'the test says so';

const WITH_FOLLOW_UPS: Readonly<Record<string, Check>> = {
  'a follow-up that was taken is answered before the result, and none is taken after it': async (tested) => {
    const { end } = await tested.played('workBriefly', {
      meanwhile: (begun) =>
        must(
          begun.push(tested.prompt('answer')),
          'The follow-up was not taken while the turn was at work; a provider that takes none says so (lacks: follow-ups).',
        ),
    });
    requireResult(end);
  },
};

const WITHOUT_FOLLOW_UPS: Readonly<Record<string, Check>> = {
  'no follow-up is taken': async (tested) => {
    await tested.played('work', {
      meanwhile: (turn) => {
        const isTaken = turn.push(tested.prompt('answer'));
        turn.abort(ABORT_REASON);
        must(!isTaken, 'A follow-up was taken by a provider that says that it takes none.');
      },
    });
  },
};

const WITH_RESUME: Readonly<Record<string, Check>> = {
  'a token to resume with comes before the result and starts the next turn': async (tested) => {
    const { events } = await tested.played('answer');
    const token = events.find((event) => event.type === 'continuation')?.token;
    must(
      token !== undefined,
      'The turn gave no token to resume with; a provider that has none says so (lacks: resume).',
    );
    requireResult((await tested.played('answer', { options: { continuation: token } })).end);
  },
};

const WITHOUT_RESUME: Readonly<Record<string, Check>> = {
  'no token to resume with is given': async (tested) => {
    const { events } = await tested.played('answer');
    must(
      events.every((event) => event.type !== 'continuation'),
      'A token to resume with came from a provider that says that it has none.',
    );
  },
};

const TOOL_CASES: Readonly<Record<string, Check>> = {
  'a tool is called with its input, between the events that say so': async (tested) => {
    const inputs: unknown[] = [];
    const tool = fakeTool(async (input) => {
      inputs.push(input);
      return 'Sent as message 1.';
    });
    const { events, end } = await tested.played('useTool', { options: { tools: [tool] } });
    requireResult(end);
    must(inputs.length === 1, `The tool was called ${inputs.length} times, and must be called once.`);
    must(
      isObject(inputs[0]) && typeof inputs[0]['text'] === 'string',
      'The tool was not given the input that it asks for.',
    );
    requireToolEvents(events);
  },

  'a tool that throws fails no turn': async (tested) => {
    const tool = fakeTool(async () => {
      throw new Error('There is no such place.');
    });
    const { end } = await tested.played('useTool', { options: { tools: [tool] } });
    must(end.type === 'result', 'The turn ended in an error because a tool threw; the model is to be told instead.');
  },
};

function requireToolEvents(events: readonly TurnEvent[]): void {
  const open = new Set<string>();
  let isNamed = false;
  for (const event of events) {
    if (event.type === 'tool-started') {
      must(!open.has(event.toolUseId), 'A tool was started twice under one id.');
      open.add(event.toolUseId);
      isNamed ||= event.name === 'send_message';
    } else if (event.type === 'tool-ended') {
      must(open.delete(event.toolUseId), 'A tool ended under an id that no tool was started with.');
    }
  }
  must(isNamed, 'No event says that the tool send_message was started.');
  must(open.size === 0, 'A tool was started, and no event says that it ended.');
}

/** How a turn is played: what is done to it, and what it is started with besides the usual. */
interface Play {
  /** Done once it is at work: at its first event, or after a while without one. */
  readonly meanwhile?: (turn: Turn) => unknown;
  /** Done before its events are read. */
  readonly before?: (turn: Turn) => unknown;
  readonly options?: Partial<StartOptions>;
}

/** An opened provider in one case. */
class Tested {
  readonly #opened: ProviderUnderTest;
  readonly #deadlineMs: Millis;

  constructor(opened: ProviderUnderTest, deadlineMs: Millis) {
    this.#opened = opened;
    this.#deadlineMs = deadlineMs;
  }

  prompt(name: keyof ProviderUnderTest['prompts']): Prompt {
    const prompt = this.#opened.prompts[name];
    must(prompt !== undefined, `The suite was given no prompt "${name}", and the provider says that it can do this.`);
    return prompt;
  }

  /** Plays a turn to its end, and checks what holds for every turn. */
  async played(
    name: keyof ProviderUnderTest['prompts'],
    play: Play = {},
  ): Promise<{ events: TurnEvent[]; end: TurnEnd }> {
    const options: StartOptions = { ...USUAL, cwd: this.#opened.cwd, ...play.options };
    const prompt = this.prompt(name);
    const turn = guarded('start()', () => this.#opened.provider.start(prompt, options));
    must(isTurn(turn), 'start() gave no turn: it must have "events", "push" and "abort".');
    if (play.before) guarded('abort()', () => play.before?.(turn));
    const events: TurnEvent[] = [];
    const reading = this.#read(turn, events, play.meanwhile);
    const wasAtWork = await within(this.#deadlineMs, `The turn of the prompt "${name}"`, reading);
    const end = onlyEnd(events);
    must(
      wasAtWork || play.meanwhile === undefined,
      `The turn of the prompt "${name}" was over before push() or abort() could reach it, and must be at work until then${
        end.type === 'error' ? `: ${brief(end.reason)}` : '.'
      }`,
    );
    const isTaken = guarded('push()', () => turn.push(this.prompt('answer')));
    must(!isTaken, `A follow-up was taken after the ${end.type}, and nothing answers it.`);
    return { events, end };
  }

  /** Reads the events to their end. Gives whether the turn was still at work when `meanwhile` was to be done. */
  async #read(turn: Turn, events: TurnEvent[], meanwhile: Play['meanwhile']): Promise<boolean> {
    const begun = Promise.withResolvers<void>();
    let isOver = false;
    const acting = begun.promise.then(() => {
      if (isOver || events.some(isEnd)) return false;
      guarded('push() or abort()', () => meanwhile?.(turn));
      return true;
    });
    const endQuiet = timer(this.#deadlineMs / QUIET_SHARE, begun.resolve);
    const reading = readEvents(turn, events, begun.resolve).finally(() => {
      isOver = true;
      endQuiet();
      begun.resolve();
    });
    const [wasAtWork] = await Promise.all([acting, reading]);
    return wasAtWork;
  }
}

/** A provider may have nothing to tell while it works: this share of the deadline is then long enough to wait for it. */
const QUIET_SHARE = 10;

/** More than any turn of these prompts has: a provider that goes on without a pause would stop every timer. */
const EVENTS_MAX = 100_000;

async function readEvents(turn: Turn, events: TurnEvent[], onFirst: () => void): Promise<void> {
  try {
    for await (const event of turn.events) {
      const problem = eventProblem(event);
      must(problem === undefined, `The turn gave an event ${problem}.`);
      events.push(event);
      must(events.length < EVENTS_MAX, `The turn gave ${EVENTS_MAX} events without an end.`);
      onFirst();
      // So that what is done to the turn meanwhile comes between two events, as it does in the runner.
      await undefined;
    }
  } catch (error) {
    if (error instanceof BrokenPromiseError) throw error;
    fail(`The turn threw where it must end in an error event: ${brief(messageOf(error))}`);
  }
}

function isEnd(event: TurnEvent): event is TurnEnd {
  return event.type === 'result' || event.type === 'error';
}

function onlyEnd(events: readonly TurnEvent[]): TurnEnd {
  const ends = events.filter(isEnd);
  const [end] = ends;
  must(end !== undefined, 'The turn ended without a result or an error.');
  must(ends.length === 1, `The turn has ${ends.length} results and errors, and must have one.`);
  must(events.at(-1) === end, `After its ${end.type} the turn gave the event ${events.at(-1)?.type}.`);
  return end;
}

function requireResult(end: TurnEnd): asserts end is Extract<TurnEnd, { type: 'result' }> {
  must(
    end.type === 'result',
    `The turn failed, and must end in a result${end.type === 'error' ? `: ${brief(end.reason)}` : '.'}`,
  );
}

/** What is wrong with an event, to go on after "an event"; `undefined` when it is as the port has it. */
function eventProblem(event: unknown): string | undefined {
  if (!isObject(event)) return 'that is no object';
  const text = (key: string): string | undefined =>
    typeof event[key] === 'string' && event[key] !== ''
      ? undefined
      : `"${String(event['type'])}" without a text as "${key}"`;
  switch (event['type']) {
    case 'progress':
      return undefined;
    case 'continuation':
      return text('token');
    case 'tool-started':
      return text('toolUseId') ?? text('name');
    case 'tool-ended':
      return text('toolUseId');
    case 'result':
      if (event['text'] !== null && typeof event['text'] !== 'string')
        return '"result" whose text is neither text nor null';
      return isUsage(event['usage']) ? undefined : '"result" whose usage is not four figures, each a number or null';
    case 'error':
      return failureProblem(event) ?? text('reason');
    default:
      return `of the unknown type ${brief(String(event['type']))}`;
  }
}

function failureProblem({
  kind,
  lostContinuation,
  retryAfterMs,
}: Readonly<Record<string, unknown>>): string | undefined {
  switch (kind) {
    case 'failed':
      return typeof lostContinuation === 'boolean'
        ? undefined
        : '"error" that does not say whether the continuation is lost';
    case 'refused':
    case 'unavailable':
      return retryAfterMs === undefined || (typeof retryAfterMs === 'number' && retryAfterMs >= 0)
        ? undefined
        : '"error" whose retryAfterMs is no number from 0';
    default:
      return '"error" whose kind is none of failed, refused and unavailable';
  }
}

function isUsage(usage: unknown): boolean {
  if (!isObject(usage)) return false;
  const figures = [usage['inputTokens'], usage['outputTokens'], usage['cacheReadTokens'], usage['costUsd']];
  return figures.every((figure) => figure === null || typeof figure === 'number');
}

function isTurn(turn: unknown): turn is Turn {
  if (!isObject(turn) || typeof turn['push'] !== 'function' || typeof turn['abort'] !== 'function') return false;
  const events = turn['events'];
  return typeof events === 'object' && events !== null && Symbol.asyncIterator in events;
}

const USUAL: StartOptions = {
  continuation: undefined,
  cwd: '',
  instructions: '',
  model: undefined,
  effort: undefined,
  tools: [],
  mcpServers: {},
  skills: [],
};

function fakeTool(call: Tool['call']): Tool {
  return {
    name: 'send_message',
    description: 'Sends a message.',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string' }, to: { type: 'string' } },
      required: ['text'],
    },
    timeoutMs: undefined,
    call,
  };
}

/** A provider has broken a promise of the port. */
class BrokenPromiseError extends Error {
  override readonly name = 'BrokenPromiseError';
}

function fail(sentence: string): never {
  throw new BrokenPromiseError(sentence);
}

function must(condition: boolean, sentence: string): asserts condition {
  if (!condition) fail(sentence);
}

/** Calls a function of the port that must not throw. */
function guarded<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof BrokenPromiseError) throw error;
    return fail(`${what} threw, and must not: ${brief(messageOf(error))}`);
  }
}

/** What `work` comes to, or a sentence once the deadline is over. */
async function within<T>(deadlineMs: Millis, what: string, work: Promise<T>): Promise<T> {
  const over = Promise.withResolvers<never>();
  const cancel = timer(deadlineMs, () =>
    over.reject(new BrokenPromiseError(`${what} did not end within ${deadlineMs} ms.`)),
  );
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    cancel();
  }
}

function timer(ms: Millis, action: () => void): () => void {
  // tidy: allow sleep — the suite waits for a real provider
  const set = setTimeout(action, ms);
  return () => clearTimeout(set);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** As much of a foreign text as a sentence has room for. */
function brief(text: string): string {
  return oneLine(text, 200);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
