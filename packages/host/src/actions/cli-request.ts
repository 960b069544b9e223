/** `cli_request`: one of the operator's commands from inside, as far as the agent group's command scope allows. */
import { agentActor } from '@nanoclaw/registry';
import { beginning } from '@nanoclaw/session-db/text';
import { messageOf } from '../errors/index.ts';
import { type Action, failed } from './action.ts';

const WORDS_MAX = 50;
const WORD_LENGTH_MAX = 2_000;

/** The longest result that is given back, as JSON: an agent reads it as part of its prompt. */
const RESULT_LENGTH_MAX = 50_000;

/** Runs the command, within the scope of the agent group. */
export const cliRequest: Action = async ({ session, row, isRepeated }, { registry, runAgentCommand, now }) => {
  const words = wordsOf(row.content['words']);
  if (words === undefined) return failed(`words must be a list of 1 to ${WORDS_MAX} texts; nothing was done.`);
  const agent = await registry.agentGroup(session.agentGroupId);
  const scope = agent?.commandScope ?? 'none';
  const note = (outcome: string) =>
    registry.audit.add({
      at: now(),
      actor: agentActor(session.agentGroupId),
      action: 'cli_request',
      target: session.agentGroupId,
      outcome,
      detail: { words: auditWords(words), scope, session: session.id, causedBy: row.inReplyTo },
    });
  if (scope === 'none') {
    await note('refused');
    return failed('This agent may use no commands; nothing was done. The operator can change its command scope.');
  }
  // A command cannot be taken back, and the host may have died in the middle of it.
  if (isRepeated) {
    return failed(
      'The host stopped during this command, and it is not known how far it came. Check before you ask again.',
    );
  }
  try {
    const result = await runAgentCommand(words, scope, session.agentGroupId);
    await note('done');
    const text = JSON.stringify(result);
    if (text.length <= RESULT_LENGTH_MAX) return { status: 'ok', result: { value: result } };
    return { status: 'ok', result: { cut: beginning(text, RESULT_LENGTH_MAX), length: text.length } };
  } catch (error) {
    await note('failed');
    return failed(messageOf(error));
  }
};

/** Of a command's words what an operator needs to see: the log is kept for a year, and agents fill it. */
function auditWords(words: readonly string[]): string[] {
  return words.slice(0, 10).map((word) => beginning(word, 100));
}

function wordsOf(value: unknown): string[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > WORDS_MAX) return undefined;
  const words = value.filter((word) => typeof word === 'string' && word.length <= WORD_LENGTH_MAX);
  return words.length === value.length ? words : undefined;
}
