/** What an agent wishes and only a person may allow: from the agent's tool to its hearing what came of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort, type HostProcess, Install, type Person, until } from './host-process.ts';
import { WebhookProgram } from './webhook-program.ts';

const ann = { id: 'ann', name: 'Ann' };

let install: Install;
let host: HostProcess;
let port: number;
let shop: WebhookProgram;
let owner: Person;

beforeEach(async () => {
  install = new Install();
  port = await freePort();
  host = await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
  shop = new WebhookProgram('shop', (await install.nanoclaw('webhooks', 'create', 'shop')).text('secret'), port);
  await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'public');
  await install.nanoclaw(
    'wirings',
    'create',
    'main',
    'webhook:shop',
    '--engage',
    'pattern',
    '--pattern',
    '.',
    '--reach',
    'all-destinations',
  );
  owner = await install.join();
});
afterEach(() => install.close());

async function agent() {
  return (await install.nanoclaw('groups', 'get', 'main')).value;
}

/** Waits until the owner has been told all of this: the host answers the press, and the agent says what came of it. */
async function said(...all: readonly RegExp[]): Promise<void> {
  await until(() => all.every((one) => owner.messages.some(({ text }) => one.test(text))));
}

/** Who did what, and what came of it, oldest first; without what the operator did. */
async function audited() {
  const rows = (await install.nanoclaw('audit')).rows().toReversed();
  return rows
    .map((row) => [row.text('actor'), row.text('action'), row.text('outcome')])
    .filter(([actor]) => actor !== 'operator');
}

describe('what an agent wishes', () => {
  it('is shown to the owner on a card, done when they approve, and the agent hears so', async () => {
    await owner.say('add server files files-server');
    const card = await owner.isAsked(
      '“Nano” asks to add the MCP server files, which runs “files-server”. Its reason: “You asked for it.”',
    );
    expect(card.choices).toEqual(['Approve', 'Deny']);
    expect(await agent()).toMatchObject({ mcpServers: [] });
    expect((await install.nanoclaw('approvals', 'list')).value).toMatchObject([{ kind: 'action', state: 'open' }]);

    await owner.client.choose(card.questionId, 0);
    await said(/^Approved: /, /The tools of files are available from now on\./);
    expect(await agent()).toMatchObject({ mcpServers: [{ name: 'files', command: 'files-server', args: [] }] });
    expect((await install.nanoclaw('approvals', 'list')).value).toEqual([]);
    await until(async () => (await audited()).length === 2);
    expect(await audited()).toEqual([
      ['terminal:local', 'add_mcp_server', 'done'],
      ['terminal:local', 'approval.action', 'approved'],
    ]);
  });

  it('is not done when the owner says no, and the agent hears so', async () => {
    await owner.say('add server files files-server');
    await owner.isAsked(/^“Nano” asks to add the MCP server files/);
    await owner.say('Deny');
    await said(/^Denied: /, /An admin denied the request, so nothing was changed\.$/);
    expect(await agent()).toMatchObject({ mcpServers: [] });
    await until(async () => (await audited()).length === 1);
    expect(await audited()).toEqual([['terminal:local', 'approval.action', 'denied']]);
  });

  it('is not decided by somebody who may not, which the audit log tells', async () => {
    await owner.say('add server files files-server');
    const { questionId } = await owner.isAsked(/^“Nano” asks to add the MCP server files/);
    await shop.post({ id: 'm-1', choice: { questionId, choice: 0 }, sender: ann });
    await shop.hears(/^Only an admin may decide this; nothing was changed\.$/);
    expect(await agent()).toMatchObject({ mcpServers: [] });
    expect(await audited()).toEqual([['webhook:shop/ann', 'approval.action', 'not-allowed']]);
    expect((await install.nanoclaw('approvals', 'list')).value).toMatchObject([{ kind: 'action', state: 'open' }]);
  });

  it('for somebody who is no admin waits through a crash of the host, and they hear what came of it', async () => {
    await shop.post({ id: 'm-1', text: 'create agent helper to help', sender: ann });
    const card = await owner.isAsked(/^“Nano” asks to create an agent named “helper”\./);
    host.kill('SIGKILL');
    await host.ended;
    await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
    const later = await install.join({ after: card.n });
    await later.client.choose(card.questionId, 0);
    await shop.hears(/helper was created; write to it as helper\./);
    expect((await install.nanoclaw('groups', 'list')).column('name').toSorted()).toEqual(['Nano', 'helper']);
  });

  it('and cannot be done is undone, and the agent hears why', async () => {
    await owner.say('install jq');
    const card = await owner.isAsked('“Nano” asks to install jq (apt). Its reason: “You asked for it.”');
    await owner.client.choose(card.questionId, 0);
    await said(/The image could not be built, and the old one stays in force: Agents run without containers here/);
    expect(await agent()).toMatchObject({ packages: { apt: [], npm: [] } });
  });
});
