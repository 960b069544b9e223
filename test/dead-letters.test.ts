import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort, Install, until } from './host-process.ts';
import { WebhookProgram } from './webhook-program.ts';

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

/** The dead letters in one direction. */
async function letters(direction: 'in' | 'out') {
  return (await install.nanoclaw('dead-letters', 'list', '--direction', direction)).rows();
}

it('a message that the agent fails on every time is told in the chat, listed, shown, and tried again by a command', async () => {
  await install.daemon();
  const person = await install.join();
  await person.say('fail with no such luck');
  // Five attempts, with 5, 10, 20 and 40 seconds between them.
  await person.hears(/no such luck/, 150_000);
  const [letter] = await letters('in');
  expect(letter?.value).toMatchObject({ error: 'no such luck', text: 'fail with no such luck' });
  const [session, number] = [letter?.text('sessionId') ?? '', String(Object(letter?.value).number)];
  const shown = await install.nanoclaw('dead-letters', 'show', session, number);
  expect(JSON.stringify(shown.value)).toContain('no such luck');
  await person.say('still there?');
  await person.hears(/still there\?/);

  await install.nanoclaw('dead-letters', 'retry', session, number);
  expect(await letters('in')).toEqual([]);
  // It is as good as new: five attempts more, of which the first comes at once.
  await until(() => install.count('inbound', "messages_in WHERE status = 'pending' AND tries = 6") === 1);
  expect((await install.run(['dead-letters', 'retry', session, number])).exitCode).toBe(6);
}, 240_000);

it('an answer that can never be delivered is told to the agent, listed, and goes out when it is tried again', async () => {
  const port = await freePort();
  await install.daemon({ NANOCLAW_WEBHOOK_PORT: String(port) });
  const endpoint = async () =>
    new WebhookProgram('shop', (await install.nanoclaw('webhooks', 'create', 'shop')).text('secret'), port);
  await endpoint();
  await install.nanoclaw('messaging-groups', 'create', 'webhook', 'shop', '--strangers', 'public');
  await install.nanoclaw('destinations', 'create', 'main', 'shop', '--chat', 'webhook:shop');
  await install.nanoclaw('webhooks', 'delete', 'shop');
  const person = await install.join();
  await person.say('tell shop one tea');
  await until(async () => (await letters('out')).length === 1);
  const [letter] = await letters('out');
  expect(letter?.value).toMatchObject({ error: 'There is no webhook endpoint "shop".', text: 'one tea' });

  const shop = await endpoint();
  await install.nanoclaw('dead-letters', 'retry', '--all');
  await shop.hears(/^one tea$/);
  expect(await letters('out')).toEqual([]);
  expect(await shop.fetched()).toHaveLength(1);

  await install.nanoclaw('webhooks', 'delete', 'shop');
  await person.say('tell shop two teas');
  await until(async () => (await letters('out')).length === 1);
  await install.nanoclaw('dead-letters', 'discard', '--all');
  expect(await letters('out')).toEqual([]);
  expect((await install.nanoclaw('status')).value).toMatchObject({ deadLetters: 0 });
});
