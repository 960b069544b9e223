import { MISSING_VERBS, OPERATOR_COMMANDS, TOPICS } from '@nanoclaw/host/operator';
import { expect, it } from 'vitest';
import { LOCAL_COMMANDS } from '../src/cli/local.ts';
import { reference } from '../src/cli/reference.ts';

it('the reference of the commands is what the table says', async () => {
  const text = reference([...LOCAL_COMMANDS, ...OPERATOR_COMMANDS], TOPICS, MISSING_VERBS);
  await expect(text).toMatchFileSnapshot('../COMMANDS.md');
});
