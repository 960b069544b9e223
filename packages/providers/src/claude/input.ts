/**
 * What is said to the agent program in one turn: the prompt, the follow-ups, and which of them are answered.
 */
import type { SDKUserMessage } from '@anthropic-ai/claude-agent-sdk';
import type { Prompt } from '@nanoclaw/runner';

/** Gives a UUID each time: the SDK takes no other id. */
export type NewUuid = () => NonNullable<SDKUserMessage['uuid']>;

export interface ClaudeInput {
  /** Every prompt as it is said; ends when the input is closed and all is read. To be read once. */
  readonly prompts: AsyncIterable<SDKUserMessage>;
  /** Nothing that was said waits for an answer. */
  readonly isAnswered: boolean;
  /** Says a follow-up. False: it was not taken, because the input is closed or too much waits for an answer. */
  say(prompt: Prompt): boolean;
  /** Takes note that a result answers the prompts with these ids. */
  answered(ids: readonly string[]): void;
  close(): void;
}

/** A result names at most 64 prompts that it answers: with more than that open, one could go unnoticed. */
export const UNANSWERED_MAX = 64;

/** An input that begins with `first`. `newId` gives a UUID that nothing else has. */
export function claudeInput(first: Prompt, newId: NewUuid): ClaudeInput {
  const waiting: SDKUserMessage[] = [];
  const unanswered = new Set<string>();
  let isClosed = false;
  let wakeReader: (() => void) | undefined;

  function say(prompt: Prompt): boolean {
    if (isClosed || unanswered.size >= UNANSWERED_MAX) return false;
    const id = newId();
    unanswered.add(id);
    waiting.push({
      type: 'user',
      uuid: id,
      message: { role: 'user', content: prompt.text },
      parent_tool_use_id: null,
      ...(isCommand(prompt) ? {} : { client_composed: true }),
    });
    wakeReader?.();
    return true;
  }

  async function* prompts(): AsyncGenerator<SDKUserMessage, void> {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (isClosed) return;
      else {
        await new Promise<void>((resolve) => {
          wakeReader = resolve;
        });
      }
    }
  }

  say(first);
  return {
    prompts: prompts(),
    get isAnswered() {
      return unanswered.size === 0;
    },
    say,
    answered: (ids) => {
      for (const id of ids) unanswered.delete(id);
    },
    close: () => {
      isClosed = true;
      wakeReader?.();
    },
  };
}

/**
 * Only a prompt made of commands that the host let through may act as one. In any other, `/compact` or `@notes.txt`
 * is something that somebody wrote in a chat: unmarked, the program would run the one and read the other file aloud.
 */
function isCommand(prompt: Prompt): boolean {
  return prompt.messages.length > 0 && prompt.messages.every((message) => message.kind === 'command');
}
