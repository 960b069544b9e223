import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort, type HostProcess, Install, until } from './host-process.ts';
import { WebhookProgram } from './webhook-program.ts';

let install: Install;
let host: HostProcess;
let port: number;
let shop: WebhookProgram;
const ann = { id: 'ann', name: 'Ann' };

beforeEach(async () => {
  install = new Install();
  port = await freePort();
  host = await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
  shop = new WebhookProgram('shop', (await install.nanoclaw('webhooks', 'create', 'shop')).text('secret'), port);
});
afterEach(() => install.close());

describe('a stranger in a chat where an admin is asked first', () => {
  beforeEach(async () => {
    await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'request_approval');
    await install.nanoclaw('wirings', 'create', 'main', 'webhook:shop', '--engage', 'mention');
  });

  it('is let in by the owner at the terminal, and what they said first is answered then', async () => {
    const owner = await install.join();
    expect(await shop.post({ id: 'm-1', text: 'good morning', sender: ann })).toBe(202);
    await shop.hears(/^An admin was asked whether Nano may talk with you\. Your message is kept/);
    const card = await owner.isAsked(/^Ann \(webhook:shop\/ann\) wants to talk with Nano/);
    expect(card.choices).toEqual(['Approve', 'Deny']);
    expect((await install.nanoclaw('approvals', 'list')).value).toMatchObject([{ kind: 'sender' }]);

    await owner.say('Approve');
    expect((await shop.hears(/good morning/)).inReplyTo).toBe('m-1');
    expect((await install.nanoclaw('members', 'list')).value).toMatchObject([{ userId: 'webhook:shop/ann' }]);
    expect((await install.nanoclaw('approvals', 'list')).value).toEqual([]);
    expect(await shop.post({ id: 'm-2', text: 'and again', sender: ann })).toBe(202);
    await shop.hears(/and again/);
  });

  it('is turned down on the command line: they are told, and nothing of theirs reaches the agent', async () => {
    await shop.post({ id: 'm-1', text: 'good morning', sender: ann });
    const [approval = ''] = (await install.nanoclaw('approvals', 'list')).column('id');
    await install.nanoclaw('approvals', 'deny', approval.slice(0, 8));
    await shop.hears(/^An admin denied the request to talk here\. Your message was not passed on\.$/);
    expect((await install.nanoclaw('sessions', 'list')).value).toEqual([]);
    expect((await install.nanoclaw('members', 'list')).value).toEqual([]);
    // Nobody is asked again at once, however often they write.
    await shop.post({ id: 'm-2', text: 'please', sender: ann });
    expect((await install.nanoclaw('approvals', 'list')).value).toEqual([]);
    expect((await install.nanoclaw('audit')).column('target')).toContain(approval);
  });

  it('is let in on the command line, and a second decision changes nothing', async () => {
    await shop.post({ id: 'm-1', text: 'good morning', sender: ann });
    const [approval = ''] = (await install.nanoclaw('approvals', 'list')).column('id');
    await install.nanoclaw('approvals', 'approve', approval);
    await shop.hears(/good morning/);
    const again = await install.run(['approvals', 'deny', approval]);
    expect({ exitCode: again.exitCode, stderr: again.stderr }).toMatchObject({ exitCode: 7 });
    expect((await install.nanoclaw('members', 'list')).rows()).toHaveLength(1);
  });

  it('waits through a crash of the host, and is let in by the next one', async () => {
    const owner = await install.join();
    await shop.post({ id: 'm-1', text: 'good morning', sender: ann });
    const card = await owner.isAsked(/^Ann/);
    host.kill('SIGKILL');
    await host.ended;
    await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
    const later = await install.join({ after: card.n });
    await later.say('Approve');
    expect((await shop.hears(/good morning/)).inReplyTo).toBe('m-1');
  });
});

it('a chat that nobody knows is opened by the owner, and its first message answered', async () => {
  const owner = await install.join();
  await shop.post({ id: 'm-1', text: 'good morning', sender: ann });
  const card = await owner.isAsked(/^Ann \(webhook:shop\/ann\) wants Nano to be in the chat webhook shop/);
  await owner.client.choose(card.questionId, 0);
  await shop.hears(/good morning/);
  expect((await install.nanoclaw('wirings', 'list')).column('chat').toSorted()).toEqual([
    'terminal:main',
    'webhook:shop',
  ]);
});

describe('commands with a slash', () => {
  beforeEach(async () => {
    await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'public');
    await install.nanoclaw('wirings', 'create', 'main', 'webhook:shop', '--engage', 'mention');
  });

  it('/clear begins a new conversation for the owner, and is refused to somebody else', async () => {
    const owner = await install.join();
    await owner.say('remember me');
    await owner.hears(/remember me/);
    await owner.say('what did I say');
    await owner.hears('You said “remember me”.');
    await owner.say('/clear');
    await owner.say('what did I say');
    await owner.hears(/^Nothing: this is a new conversation\.$/m);

    await shop.post({ id: 'm-1', text: 'remember Ann', sender: ann });
    await shop.hears(/remember Ann/);
    await shop.post({ id: 'm-2', text: '/clear', sender: ann });
    await shop.hears(/^\/clear is for admins of this agent; nothing was changed\.$/);
    await shop.post({ id: 'm-3', text: 'what did I say', sender: ann });
    await shop.hears(/^You said “remember Ann”\.$/);
  });

  it('/stop ends what the agent is at, and what was said after it is answered', async () => {
    const owner = await install.join();
    await owner.say('think for 600 seconds');
    await until(() => install.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
    await owner.say('/stop');
    await until(() => install.count('inbound', 'messages_in WHERE settled_at IS NULL') === 0);
    await owner.say('still there?');
    await owner.hears(/still there\?/);
    expect(owner.messages.map(({ text }) => text).join('\n')).not.toContain('Done thinking');
  });
});
