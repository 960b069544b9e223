/**
 * The `offline` provider: rules instead of a model. It needs no key and no network, and can use every tool.
 *
 * Its continuation is what was asked last, so that people can see a conversation go on, and begin anew after /clear.
 */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  type Prompt,
  type Provider,
  readContent,
  type StartOptions,
  type Tool,
  type Turn,
  type TurnEvent,
  type TurnFailure,
} from '@nanoclaw/runner';
import type { Clock, Millis } from '@nanoclaw/session-db';
import { beginning } from '@nanoclaw/session-db/text';
import { type Step, steps } from './rules.ts';

/** The rules of `rules.ts` as a provider. */
export function offlineProvider(clock: Clock): Provider {
  return { name: 'offline', start: (prompt, start) => startTurn(clock, prompt, start) };
}

/** While it thinks it shows that it is at work: this often. */
const PROGRESS_EVERY_MS: Millis = 1_000;

function startTurn(clock: Clock, first: Prompt, start: StartOptions): Turn {
  const prompts = [first];
  const aborted = new AbortController();
  let isOver = false;
  let toolUses = 0;

  async function* events(): AsyncGenerator<TurnEvent, void> {
    const said: string[] = [];
    let before = start.continuation;
    try {
      for (let prompt = prompts.shift(); prompt !== undefined; prompt = prompts.shift()) {
        for (const message of prompt.messages) {
          const content = readContent(message);
          if (content.type === 'unreadable' || message.trigger === 'context') continue;
          const { done } = prompt;
          for (const step of steps(message, content, { now: clock.now(), before, done })) yield* taken(step, said);
          if (content.type === 'chat') {
            before = beginning(content.text, 1_000);
            yield { type: 'continuation', token: before };
          }
        }
      }
      throwIfAborted();
      isOver = true;
      yield { type: 'result', text: said.length === 0 ? null : said.join('\n'), usage: NO_USAGE };
    } catch (error) {
      isOver = true;
      const reason = error instanceof Error ? error.message : String(error);
      const failure: TurnFailure =
        error instanceof Deferral ? error.failure : { kind: 'failed', lostContinuation: false };
      yield { type: 'error', reason, ...failure };
    }
  }

  async function* taken(step: Step, said: string[]): AsyncGenerator<TurnEvent, void> {
    throwIfAborted();
    switch (step.type) {
      case 'say':
        said.push(step.text);
        return;
      case 'think':
        for (let left = step.ms; left > 0; left -= PROGRESS_EVERY_MS) {
          yield { type: 'progress' };
          await delay(clock, Math.min(left, PROGRESS_EVERY_MS), aborted.signal);
          throwIfAborted();
        }
        return;
      case 'fail':
        throw new Error(step.reason);
      case 'defer': {
        const { type: _, reason, ...failure } = step;
        throw new Deferral(reason, failure);
      }
      case 'hang':
        await whenAborted(aborted.signal);
        throwIfAborted();
        return;
      case 'write-file':
        await writeFile(join(start.cwd, basename(step.name)), step.text);
        return;
      case 'tool': {
        const tool = start.tools.find((one) => one.name === step.name);
        toolUses += 1;
        const toolUseId = `offline-${toolUses}`;
        const timeout = tool?.timeoutMs === undefined ? {} : { timeoutMs: tool.timeoutMs };
        yield { type: 'tool-started', toolUseId, name: step.name, ...timeout };
        const answer = await called(tool, step);
        yield { type: 'tool-ended', toolUseId };
        if (!step.isQuiet || answer.isError) said.push(answer.text);
      }
    }
  }

  function throwIfAborted(): void {
    if (aborted.signal.aborted) throw new Error(String(aborted.signal.reason));
  }

  return {
    events: events(),
    push: (prompt) => {
      if (isOver || aborted.signal.aborted) return false;
      prompts.push(prompt);
      return true;
    },
    abort: (reason) => aborted.abort(reason),
  };
}

/** Ends a turn as a model that is in the way would. */
class Deferral extends Error {
  readonly failure: TurnFailure;

  constructor(reason: string, failure: TurnFailure) {
    super(reason);
    this.failure = failure;
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves after `ms`, or as soon as the signal is aborted. */
function delay(clock: Clock, ms: Millis, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.setTimer(ms, end);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

async function called(
  tool: Tool | undefined,
  step: Step & { type: 'tool' },
): Promise<{ text: string; isError: boolean }> {
  if (tool === undefined) return { text: `There is no tool ${step.name}.`, isError: true };
  try {
    return { text: await tool.call(step.input), isError: false };
  } catch (error) {
    return { text: error instanceof Error ? error.message : String(error), isError: true };
  }
}

const NO_USAGE = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null } as const;
