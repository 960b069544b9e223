/**
 * The `claude` provider: one turn is one run of the agent SDK's program, resumed from the turn before.
 *
 * It relies on three habits of that program (2.1.328; each was seen against a fake of the Messages API):
 * - every prompt carries an id of ours, and each result names the prompts that it answers. A follow-up is either read
 *   in the middle of the work (no result of its own) or gets a result after it. So the turn is over when no prompt is
 *   unanswered, however a follow-up and a result cross;
 * - when its input ends it saves the conversation and leaves by itself, within about 50 ms;
 * - after a failed result it exits with 1, which then is no news.
 */
import { existsSync } from 'node:fs';
import { type HookCallback, query } from '@anthropic-ai/claude-agent-sdk';
import type { Prompt, Provider, StartOptions, Turn, TurnEnd, TurnEvent } from '@nanoclaw/runner';
import type { SetTimer } from '@nanoclaw/session-db';
import { archiveTranscript } from './archive.ts';
import { claudeReading, missingServers } from './events.ts';
import { claudeInput, type NewUuid } from './input.ts';
import { notesText } from './notes.ts';
import { type ClaudeProgramOptions, sdkOptions } from './options.ts';
import { ClaudeProgram } from './program.ts';

export interface ClaudeOptions extends ClaudeProgramOptions {
  /** Hears of trouble that fails no turn, one sentence each: an MCP server that is missing, an archive not written. */
  readonly report: (trouble: string) => void;
  readonly newId: NewUuid;
  readonly setTimer: SetTimer;
}

/**
 * The Claude models with the tools of Claude Code and ours. Its continuation is the SDK's session id.
 *
 * A turn begins when its events are first asked for, and they end only when the program is gone, so that the next
 * turn finds the conversation saved. Whoever stops reading them early ends the program. An API that fails is asked
 * three times in all within a turn; one that goes silent is left to the runner's limit of silence.
 */
export function claudeProvider(options: ClaudeOptions): Provider {
  return {
    name: 'claude',
    start: (prompt, startOptions) => startTurn(options, prompt, startOptions),
  };
}

function startTurn(options: ClaudeOptions, prompt: Prompt, start: StartOptions): Turn {
  const input = claudeInput(prompt, options.newId);
  const program = new ClaudeProgram(options.setTimer);
  let isOver = false;
  let abortReason: string | undefined;

  const isRunning = (): boolean => !isOver;
  const isAborted = (): boolean => abortReason !== undefined;

  /** Ends the turn with `last`, or by its abortion if it was aborted, whatever it came to. */
  function ended(last: TurnEnd): TurnEnd {
    isOver = true;
    input.close();
    program.leave();
    if (abortReason === undefined) return last;
    return { ...failed(abortReason), ...(last.usage === undefined ? {} : { usage: last.usage }) };
  }

  async function* events(): AsyncGenerator<TurnEvent, void> {
    const reading = claudeReading(start);
    try {
      const refusal = abortReason === undefined ? refusalOf(start) : failed(abortReason);
      if (refusal !== undefined) {
        yield ended(refusal);
        return;
      }
      const settings = sdkOptions(options, start, await notesText(start.cwd), archiving(options, start.cwd));
      // It may have been aborted meanwhile.
      if (abortReason !== undefined) {
        yield ended(failed(abortReason));
        return;
      }
      const run = program.run((spawn) =>
        query({ prompt: input.prompts, options: { ...settings, spawnClaudeCodeProcess: spawn } }),
      );
      for await (const message of run) {
        for (const name of missingServers(message)) {
          options.report(`The MCP server ${name} could not be reached, so its tools are missing from this turn.`);
        }
        // What comes after the last event belongs to the program's way out: read to its end, and not told.
        if (!isRunning()) continue;
        if (!isAborted()) yield* reading.events(message);
        if (message.type !== 'result') continue;
        const failure = reading.failure(message);
        if (failure === undefined) input.answered(message.user_message_uuids ?? []);
        if (failure !== undefined) yield ended(failure);
        else if (input.isAnswered || isAborted()) yield ended(reading.result());
      }
      if (isRunning()) yield ended(failed(`The agent program left without an answer.${program.lastWords()}`));
    } catch (error) {
      // After the last event an error only says how the program exited, and that changes nothing.
      if (isRunning()) yield ended(failed(`The agent program failed: ${messageOf(error)}${program.lastWords()}`));
    } finally {
      input.close();
      await program.gone();
    }
  }

  return {
    events: events(),
    push: (followUp) => !isAborted() && input.say(followUp),
    abort: (reason) => {
      if (isOver || isAborted()) return;
      abortReason = reason;
      program.interrupt();
    },
  };
}

/** The hook that keeps what a compaction would lose. It never stands in the way of one: the model would be stuck. */
function archiving({ report, setTimer }: ClaudeOptions, folder: string): HookCallback {
  return async (input) => {
    try {
      await archiveTranscript(input.transcript_path, input.session_id, folder, setTimer);
    } catch (error) {
      report(`The conversation was compacted without having been written down: ${messageOf(error)}.`);
    }
    return {};
  };
}

function failed(reason: string): Extract<TurnEnd, { kind: 'failed' }> {
  return { type: 'error', kind: 'failed', reason, lostContinuation: false };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a turn cannot begin, for what the program would misunderstand or explain misleadingly. */
function refusalOf({ continuation, cwd }: StartOptions): TurnEnd | undefined {
  // The program would take anything but an id for a conversation's title, and search for it.
  if (continuation !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(continuation)) {
    return { ...failed(`${continuation} is not the id of a Claude conversation.`), lostContinuation: true };
  }
  // The SDK would blame the program.
  if (!existsSync(cwd)) return failed(`The agent's folder ${cwd} does not exist.`);
  return undefined;
}
