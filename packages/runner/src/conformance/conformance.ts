/**
 * The suite that every provider must pass. It knows no test framework: a case is a name and a function that throws.
 *
 *   for (const { name, run } of providerConformance(open)) test(name, run);
 */
import assert from 'node:assert/strict';
import type { Prompt, Provider, StartOptions, Tool, Turn, TurnEvent } from '../provider.ts';

/** One promise of the port. `run` throws an `AssertionError` when the provider breaks it. */
export interface ProviderCase {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** A provider with a model, or the fake of one, that behaves as each prompt asks. Each case opens one of its own. */
export interface ProviderUnderTest {
  readonly provider: Provider;
  /** A folder for the agent. */
  readonly cwd: string;
  readonly prompts: {
    /** Answered with some text, at once. */
    readonly answer: Prompt;
    /** Works until it is aborted. */
    readonly work: Prompt;
    /** Works for long enough that a follow-up is pushed meanwhile, and ends by itself. */
    readonly workBriefly: Prompt;
    readonly fail: Prompt;
    /** Calls the tool `send_message` with a text, once, then answers with some text whatever comes of it. */
    readonly useTool: Prompt;
  };
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/** The cases for one provider. */
export function providerConformance(open: () => Promise<ProviderUnderTest>): ProviderCase[] {
  return Object.entries(CASES).map(([name, check]) => ({
    name,
    run: async () => {
      const opened = await open();
      try {
        await check(opened);
      } finally {
        await opened.close();
      }
    },
  }));
}

const CASES: Readonly<Record<string, (opened: ProviderUnderTest) => Promise<void>>> = {
  'an answered prompt ends in one result, and it is the last event': async ({ provider, cwd, prompts }) => {
    const events = await eventsOf(provider.start(prompts.answer, options(cwd)));
    const last = onlyEnd(events);
    assert.equal(last.type, 'result');
    assert.ok(last.type === 'result' && last.text, 'the result has a text');
  },

  'a failing turn ends in one error with a reason, and does not throw': async ({ provider, cwd, prompts }) => {
    const last = onlyEnd(await eventsOf(provider.start(prompts.fail, options(cwd))));
    assert.equal(last.type, 'error');
    assert.ok(last.type === 'error' && last.reason !== '' && !last.lostContinuation);
  },

  'an aborted turn ends in an error with the reason of the abort': async ({ provider, cwd, prompts }) => {
    const turn = provider.start(prompts.work, options(cwd));
    const events = await eventsOf(turn, () => turn.abort('the test says so'));
    const last = onlyEnd(events);
    assert.ok(last.type === 'error' && last.reason.includes('the test says so'), JSON.stringify(last));
  },

  'a turn that is aborted before anybody reads its events ends in an error': async ({ provider, cwd, prompts }) => {
    const turn = provider.start(prompts.work, options(cwd));
    turn.abort('too early');
    assert.equal(onlyEnd(await eventsOf(turn)).type, 'error');
  },

  'a follow-up that was taken is answered before the result, and none is taken after it': async ({
    provider,
    cwd,
    prompts,
  }) => {
    const turn = provider.start(prompts.workBriefly, options(cwd));
    let wasTaken: boolean | undefined;
    const events = await eventsOf(turn, () => {
      wasTaken ??= turn.push(prompts.answer);
    });
    assert.equal(wasTaken, true);
    assert.equal(onlyEnd(events).type, 'result');
    assert.equal(turn.push(prompts.answer), false);
  },

  'a token to resume with comes before the result and starts the next turn': async ({ provider, cwd, prompts }) => {
    const events = await eventsOf(provider.start(prompts.answer, options(cwd)));
    const token = events.find((event) => event.type === 'continuation')?.token;
    if (token === undefined) return;
    const next = await eventsOf(provider.start(prompts.answer, { ...options(cwd), continuation: token }));
    assert.equal(onlyEnd(next).type, 'result');
  },

  'a tool is called with its input, between the events that say so': async ({ provider, cwd, prompts }) => {
    const inputs: unknown[] = [];
    const tool = fakeTool(async (input) => {
      inputs.push(input);
      return 'Sent as message 1.';
    });
    const events = await eventsOf(provider.start(prompts.useTool, { ...options(cwd), tools: [tool] }));
    assert.equal(inputs.length, 1);
    assert.equal(onlyEnd(events).type, 'result');
    const started = events.flatMap((event) => (event.type === 'tool-started' ? [event.toolUseId] : []));
    const ended = events.flatMap((event) => (event.type === 'tool-ended' ? [event.toolUseId] : []));
    assert.deepEqual(ended.toSorted(), started.toSorted());
    assert.ok(events.some((event) => event.type === 'tool-started' && event.name === 'send_message'));
  },

  'a tool that throws fails no turn': async ({ provider, cwd, prompts }) => {
    const tool = fakeTool(async () => {
      throw new Error('There is no such place.');
    });
    const events = await eventsOf(provider.start(prompts.useTool, { ...options(cwd), tools: [tool] }));
    assert.equal(onlyEnd(events).type, 'result');
  },
};

function options(cwd: string): StartOptions {
  return {
    continuation: undefined,
    cwd,
    instructions: '',
    model: undefined,
    effort: undefined,
    tools: [],
    mcpServers: {},
    skills: [],
  };
}

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

/** Reads a turn to its end; `onFirst` is called once, after the first event. */
async function eventsOf(turn: Turn, onFirst: () => void = () => undefined): Promise<TurnEvent[]> {
  const events: TurnEvent[] = [];
  for await (const event of turn.events) {
    events.push(event);
    if (events.length === 1) onFirst();
  }
  return events;
}

function onlyEnd(events: readonly TurnEvent[]): TurnEvent {
  const ends = events.filter((event) => event.type === 'result' || event.type === 'error');
  assert.equal(ends.length, 1, `one event ends a turn: ${JSON.stringify(events)}`);
  const last = events.at(-1);
  assert.ok(last !== undefined && last === ends[0], `the end is the last event: ${JSON.stringify(events)}`);
  return last;
}
