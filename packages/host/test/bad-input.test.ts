/** Names of things that do not exist, to every command that takes one: a sentence, the right exit code, nothing changed. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Problem } from '../src/errors/problem.ts';
import { OperatorInstall } from './operator-install.ts';

const NOBODY = 'no-such-thing';

/** Every command with the name of something in it, and that name a wrong one. */
const WRONG = [
  'groups get NO',
  'groups update NO --name x',
  'groups delete NO',
  'groups rebuild NO',
  'messaging-groups get NO',
  'messaging-groups get terminal:NO',
  'messaging-groups update NO --name x',
  'messaging-groups delete terminal:NO',
  'wirings list --group NO',
  'wirings get NO',
  'wirings create NO terminal:main',
  'wirings create main terminal:NO',
  'wirings update NO --priority 1',
  'wirings delete NO',
  'users get terminal:NO',
  'users update terminal:NO --name x',
  'users delete terminal:NO',
  'roles get terminal:NO',
  'roles create terminal:NO admin',
  'roles create terminal:NO admin --group NO',
  'roles delete terminal:NO admin',
  'members list --group NO',
  'members create NO terminal:NO',
  'members create main terminal:NO',
  'members delete main terminal:NO',
  'destinations list --group NO',
  'destinations get NO',
  'destinations create NO name --chat terminal:main',
  'destinations create main name --chat terminal:NO',
  'destinations create main name --agent NO',
  'destinations update NO --name x',
  'destinations delete NO',
  'sessions list --group NO',
  'sessions get NO',
  'sessions show NO',
  'sessions create NO',
  'sessions create main --chat terminal:NO',
  'sessions retry NO',
  'sessions wake NO',
  'sessions stop NO',
  'sessions delete NO',
  'tasks list --session NO',
  'tasks get NO x',
  'tasks get SESSION NO',
  'tasks create NO prompt',
  'tasks update SESSION NO --prompt x',
  'tasks pause SESSION NO',
  'tasks resume SESSION NO',
  'tasks cancel SESSION NO',
  'approvals get NO',
  'approvals approve NO',
  'approvals deny NO',
  'dead-letters list --session NO',
  'dead-letters show NO 2',
  'dead-letters show SESSION 4711',
  'dead-letters retry SESSION 4711',
  'dead-letters discard SESSION 4711',
  'webhooks delete NO',
];

let install: OperatorInstall;
beforeEach(async () => {
  install = await OperatorInstall.make();
});
afterEach(() => install[Symbol.asyncDispose]());

it.each(WRONG)('`%s` is refused with a sentence that names it', async (line) => {
  const session = await install.session();
  const words = line.split(' ').map((word) => word.replace('NO', NOBODY).replace('SESSION', session.id));
  const before = await contents();
  const refused: unknown = await install.run(words, install.live).catch((error: unknown) => error);
  if (!(refused instanceof Problem)) throw new Error(`It was not refused: ${JSON.stringify(refused)}`);
  expect({ exitCode: refused.exitCode, message: refused.message }).toMatchObject({ exitCode: 6 });
  expect(refused.message).toMatch(line.includes('4711') ? /4711/ : new RegExp(NOBODY));
  expect(refused.message).toMatch(/\.$/);
  expect(await contents()).toEqual(before);
});

/** What every table of the registry but the audit log holds, and the bytes of every session's file. */
async function contents(): Promise<unknown> {
  const { registry } = install;
  const files = readdirSync(join(install.data.root, 'sessions'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return {
    groups: await registry.agentGroups(),
    chats: await registry.messagingGroups(),
    users: await registry.people.users(),
    roles: await registry.people.roleGrants(),
    members: await registry.people.memberships(),
    destinations: await registry.destinations.list(),
    sessions: await registry.sessions(),
    files: files.map((file) => [file, createHash('sha256').update(readFileSync(file)).digest('hex')]),
    asked: [...install.asked],
  };
}
