import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

describe('a question of the agent to somebody at a terminal', () => {
  it('is shown with its choices, and the same turn goes on with the answer: by number, by wording, by choice', async () => {
    await install.daemon();
    const person = await install.join();
    const answers: ((questionId: string) => Promise<string>)[] = [
      () => person.say('2'),
      () => person.say('coffee'),
      (questionId) => person.client.choose(questionId, 1),
    ];
    for (const answer of answers) {
      const asking = await person.say('ask me tea or coffee');
      const question = await person.isAsked('tea, coffee?');
      expect(question.choices).toEqual(['tea', 'coffee']);
      await answer(question.questionId);
      // The answer went to the turn that asked, so what that turn says answers the message that began it.
      expect((await person.hears('local: coffee')).inReplyTo).toBe(asking);
    }
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed' AND tries = 1") >= 3);
    expect((await install.nanoclaw('status')).value).toMatchObject({ questions: 0, deadLetters: 0 });
  });

  it('takes one answer: who comes second is told so, and what is no choice is an ordinary message', async () => {
    await install.daemon();
    const [person, again] = [await install.join(), await install.join()];
    await person.say('ask me tea or coffee');
    const { questionId } = await person.isAsked('tea, coffee?');
    await person.say('neither');
    await person.client.choose(questionId, 0);
    await person.hears(/^local: tea\nYou said “neither”/);
    await again.client.choose(questionId, 1);
    await again.hears('This question was already answered.');
    await expect(again.client.choose('no-such-question', 0)).rejects.toThrow(/^There is no such choice in this chat/);
    expect(person.messages.filter(({ text }) => text.includes('local: coffee'))).toEqual([]);
  });

  it('asks two people in two chats at once, and each answers their own', async () => {
    await install.daemon();
    await install.nanoclaw('messaging-groups', 'create', 'terminal', 'kitchen', '--strangers', 'public');
    await install.nanoclaw('wirings', 'create', 'main', 'terminal:kitchen', '--engage', 'pattern', '--pattern', '.');
    const [hall, kitchen] = [await install.join(), await install.join({ chat: 'kitchen' })];
    await Promise.all([hall.say('ask me tea or coffee'), kitchen.say('ask me milk or sugar')]);
    await Promise.all([hall.isAsked('tea, coffee?'), kitchen.isAsked('milk, sugar?')]);
    await kitchen.say('1');
    await kitchen.hears('local: milk');
    await hall.say('1');
    await hall.hears('local: tea');
  });

  it('two questions open in one chat: only a choice says which one is meant, and a bare number is a message', async () => {
    await install.daemon();
    await install.nanoclaw('groups', 'create', 'second', '--provider', 'offline');
    const wiring = ['--engage', 'pattern', '--pattern', '^ask'];
    await install.nanoclaw('wirings', 'create', 'second', 'terminal:main', ...wiring);
    const person = await install.join();
    await person.say('ask me tea or coffee');
    const [one, two] = [await person.isAsked('tea, coffee?'), await person.isAsked('tea, coffee?')];
    await person.say('1');
    await person.client.choose(one.questionId, 0);
    await person.client.choose(two.questionId, 1);
    await person.hears(/^local: /);
    await person.hears(/^local: /);
    const said = person.messages.map(({ text }) => text).join('\n');
    expect(said.match(/^local: .*$/gm)?.toSorted()).toEqual(['local: coffee', 'local: tea']);
    expect(said).toContain('You said “1”');
  });

  it('that nobody answers in its time lets the turn go on without them, and an answer after that is told it is too late', async () => {
    await install.daemon();
    const person = await install.join();
    const asking = await person.say('ask me within 1 second tea or coffee');
    const { questionId } = await person.isAsked('tea, coffee?');
    const spoken = await person.hears(/^Nobody answered within 1 s\./);
    expect(spoken.inReplyTo).toBe(asking);
    await person.client.choose(questionId, 0);
    await person.hears('This question has expired. Write to the agent instead.');
    // What is typed after the end is no answer but a message of its own.
    await person.say('1');
    await person.hears(/^You said “1”/);
    expect(person.messages.filter(({ text }) => text.includes('local: tea'))).toEqual([]);
    expect(install.count('inbound', 'messages_in')).toBe(2);
    expect((await install.nanoclaw('status')).value).toMatchObject({ questions: 0, deadLetters: 0 });
  });

  it('is answered after the host was killed: the turn that waited goes on', async () => {
    const first = await install.daemon();
    const before = await install.join();
    const asking = await before.say('ask me tea or coffee');
    const { questionId, n } = await before.isAsked('tea, coffee?');
    first.kill('SIGKILL');
    await first.ended;
    await install.daemon();
    const after = await install.join({ after: n });
    await after.client.choose(questionId, 1);
    expect((await after.hears('local: coffee')).inReplyTo).toBe(asking);
    expect(after.messages.filter(({ kind }) => kind === 'question')).toEqual([]);
  });

  it('is answered after host and agent were killed: the next attempt waits for the same question, which is asked once', async () => {
    const first = await install.daemon();
    const before = await install.join();
    await before.say('ask me tea or coffee');
    const { questionId } = await before.isAsked('tea, coffee?');
    first.kill('SIGKILL');
    for (const pid of await install.runners()) process.kill(pid, 'SIGKILL');
    await first.ended;
    await install.daemon();
    const after = await install.join();
    await after.client.choose(questionId, 0);
    await after.hears('local: tea');
    expect(after.messages.filter(({ kind }) => kind === 'question')).toHaveLength(1);
  });
});
