import { afterEach, beforeEach, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

let install: Install;

beforeEach(async () => {
  install = new Install();
  await install.daemon();
  await install.nanoclaw('groups', 'create', 'helper', '--provider', 'offline');
});
afterEach(() => install.close());

/** Lets two agents write to each other. */
async function acquaint(): Promise<void> {
  await install.nanoclaw('destinations', 'create', 'main', 'helper', '--agent', 'helper');
  await install.nanoclaw('destinations', 'create', 'helper', 'boss', '--agent', 'main');
}

it('an agent asks another one, and the answer comes back to the chat that it was asked in', async () => {
  await acquaint();
  const person = await install.join();
  await person.say('tell helper tell boss tell terminal-main the tea is ready');
  await person.hears('the tea is ready');
  const sessions = await install.nanoclaw('sessions', 'list');
  expect(sessions.column('agent').toSorted()).toEqual(['helper', 'main']);
});

it('an agent cannot write to one that nobody has let it write to', async () => {
  const person = await install.join();
  await person.say('tell helper hello');
  await person.hears(/There is no place named "helper", so nothing was sent\./);
  await install.nanoclaw('destinations', 'create', 'main', 'helper', '--agent', 'helper');
  // What it is told at the next message, not at the next start.
  await until(async () => {
    await person.say('tell helper hello');
    return (await person.hears(/^Sent as message|no place named/)).text.startsWith('Sent as message');
  });
});

it('two agents that write to each other for ever are stopped, and the operator sees why', async () => {
  await acquaint();
  const person = await install.join();
  // The offline agent answers every mail, and that answer is a mail to the other one.
  await person.say('tell helper ping');
  await until(async () => (await install.nanoclaw('dead-letters', 'list')).rows().length > 0);
  const [letter] = (await install.nanoclaw('dead-letters', 'list')).rows();
  expect(letter?.text('error')).toMatch(
    /^This exchange between agents went on for 4 mails without a message of a person/,
  );
  const [stop] = (await install.nanoclaw('audit', '--action', 'mail')).rows();
  expect(stop?.value).toMatchObject({
    outcome: 'refused',
    detail: { hop: 5, reason: expect.stringMatching(/^This exchange/) },
  });

  const session = letter?.text('sessionId') ?? '';
  const { stdout } = await install.run(['sessions', 'show', session]);
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain('4 mails without');
  // It is over: nothing is due, and a person's word begins anew.
  await until(async () => Number(JSON.parse(JSON.stringify((await install.nanoclaw('status')).value)).due) === 0);
  await person.say('hello');
  await person.hears(/^You said “hello”/);
});
