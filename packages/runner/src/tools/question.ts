/** The tool that asks a person and waits. */

import type { InboundMessage } from '@nanoclaw/session-db';
import { choicesProblem } from '@nanoclaw/session-db/text';
import { readContent } from '../content.ts';
import type { Tool } from '../provider.ts';
import type { ToolScope } from './scope.ts';
import { optional, ToolInputError, text, texts, tool, wholeNumber } from './tool.ts';

const TIMEOUT_DEFAULT_S = 300;
/** Half an hour: a turn that waits holds its messages, and nobody else's are answered in its place. */
const TIMEOUT_MAX_S = 1_800;

export function questionTool(scope: ToolScope): Tool {
  const title = text('title', 'A few words.', 100);
  const question = text('question', 'The question.', 2_000);
  const options = texts('options', 'The answers to choose from.', { min: 2, max: 10, lengthMax: 100 });
  const timeout = optional(
    wholeNumber('timeout', `Seconds to wait, ${TIMEOUT_DEFAULT_S} when left out.`, 1, TIMEOUT_MAX_S),
  );
  return tool({
    name: 'ask_user_question',
    description: 'Asks the person you are talking with to choose, waits for the answer and gives it.',
    fields: [title, question, options, timeout],
    timeoutMs: TIMEOUT_MAX_S * 1_000,
    call: async (input) => {
      const seconds = timeout.of(input) ?? TIMEOUT_DEFAULT_S;
      const problem = choicesProblem(options.of(input));
      if (problem !== undefined) throw new ToolInputError(problem);
      const content = {
        operation: 'ask_question',
        title: title.of(input),
        question: question.of(input),
        options: options.of(input),
      };
      const answer = await scope.ask(content, seconds * 1_000);
      return answer === undefined
        ? `Nobody answered within ${seconds} s. What they write later comes as a message.`
        : answerText(answer);
    },
  });
}

/** What somebody answered: the words of a chat message, or what the host says of a click. */
function answerText(answer: InboundMessage): string {
  const content = readContent(answer);
  if (content.type === 'chat')
    return content.sender === undefined ? content.text : `${content.sender.name}: ${content.text}`;
  if (content.type === 'result' && content.status === 'ok') return content.text;
  return `The question could not be asked: ${content.type === 'result' ? content.text : 'the answer cannot be read'}`;
}
