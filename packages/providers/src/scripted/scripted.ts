/**
 * A provider that does as a function says: what a test needs in place of a model.
 */
import type { Prompt, Provider, StartOptions, Turn, TurnEvent, TurnFailure, Usage } from '@nanoclaw/runner';
import type { DeferralKind } from '@nanoclaw/session-db';

/** What one prompt of a turn is answered with: the text, or `null` for none. What it throws fails the turn. */
export type Script = (turn: ScriptedTurn) => Promise<string | null> | string | null;

/** Thrown by a script: the token it was started with is dead. */
export class LostContinuation extends Error {
  override readonly name = 'LostContinuation';
}

/** Thrown by a script: its model is in the way, and no message is at fault. */
export class ModelTrouble extends Error {
  override readonly name = 'ModelTrouble';
  /** What is in the way. */
  readonly kind: DeferralKind;
  /** How long the model wants to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: DeferralKind, reason: string, retryAfterMs?: number) {
    super(reason);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A turn as its script sees it. */
export interface ScriptedTurn {
  /** What the turn was begun with. */
  readonly prompt: Prompt;
  /** The options that it was begun with. */
  readonly options: StartOptions;
  /** Aborted when the turn is. */
  readonly signal: AbortSignal;
  /** The next follow-up, which this script then answers too; waits for one. Rejects when the turn is aborted. */
  followUp(): Promise<Prompt>;
  /** Lets the runner see an event; the last one is made from what the script returns or throws. */
  emit(event: Exclude<TurnEvent, { type: 'result' | 'error' }>): void;
  /** Calls a tool of the runner, with the events that go with it. */
  call(tool: string, input: Readonly<Record<string, unknown>>): Promise<string>;
}

/**
 * A provider whose prompts and follow-ups are each answered by `script`; a follow-up that no script asked for is answered
 * by a call of its own, before the turn's result. An aborted turn ends at once, whatever the script does.
 */
export function scriptedProvider(script: Script, name = 'scripted'): Provider {
  return { name, start: (prompt, options) => startTurn(script, prompt, options) };
}

function startTurn(script: Script, first: Prompt, options: StartOptions): Turn {
  const prompts = [first];
  const events: TurnEvent[] = [];
  const aborted = new AbortController();
  let wakeReader: (() => void) | undefined;
  let wakeScript: (() => void) | undefined;
  let isOver = false;
  let toolUses = 0;

  const emit = (event: TurnEvent): void => {
    if (isOver) return;
    isOver = event.type === 'result' || event.type === 'error';
    events.push(event);
    wakeReader?.();
  };
  const abortion = new Promise<never>((_, reject) => {
    aborted.signal.addEventListener('abort', () => reject(new Error(String(aborted.signal.reason))));
  });
  // It is listened to only while a script waits, and an abort may come at any time.
  abortion.catch(() => undefined);

  const turnFor = (prompt: Prompt): ScriptedTurn => ({
    prompt,
    options,
    signal: aborted.signal,
    emit,
    followUp: () => Promise.race([nextPrompt(), abortion]),
    call: async (tool, input) => {
      toolUses += 1;
      const toolUseId = `tool-${toolUses}`;
      const found = options.tools.find((one) => one.name === tool);
      if (found === undefined) throw new Error(`There is no tool ${tool}.`);
      emit({
        type: 'tool-started',
        toolUseId,
        name: tool,
        ...(found.timeoutMs === undefined ? {} : { timeoutMs: found.timeoutMs }),
      });
      try {
        return await found.call(input);
      } finally {
        emit({ type: 'tool-ended', toolUseId });
      }
    },
  });

  async function nextPrompt(): Promise<Prompt> {
    for (;;) {
      const next = prompts.shift();
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => {
        wakeScript = resolve;
      });
    }
  }

  async function play(): Promise<void> {
    const said: string[] = [];
    try {
      for (let prompt = prompts.shift(); prompt !== undefined; prompt = prompts.shift()) {
        const text = await Promise.race([script(turnFor(prompt)), abortion]);
        if (text !== null) said.push(text);
      }
      emit({ type: 'result', text: said.length === 0 ? null : said.join('\n'), usage: NO_USAGE });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      emit({ type: 'error', reason, ...failureOf(error) });
    }
  }

  async function* read(): AsyncGenerator<TurnEvent, void> {
    for (;;) {
      const event = events.shift();
      if (event !== undefined) {
        yield event;
        if (event.type === 'result' || event.type === 'error') return;
        continue;
      }
      await new Promise<void>((resolve) => {
        wakeReader = resolve;
      });
    }
  }

  void play();
  return {
    events: read(),
    push: (prompt) => {
      if (isOver || aborted.signal.aborted) return false;
      prompts.push(prompt);
      wakeScript?.();
      return true;
    },
    abort: (reason) => aborted.abort(reason),
  };
}

function failureOf(error: unknown): TurnFailure {
  if (!(error instanceof ModelTrouble)) return { kind: 'failed', lostContinuation: error instanceof LostContinuation };
  const { kind, retryAfterMs } = error;
  return { kind, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

const NO_USAGE: Usage = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };
