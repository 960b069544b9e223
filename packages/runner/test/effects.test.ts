/**
 * A run that is killed or stopped in mid-turn, after its tools have acted: what the next attempt at the message does again is
 * what was done before.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runId } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ScriptedTurn, scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import type { DoneEffect } from '../src/index.ts';
import { NOTHING_SAID } from '../src/reply.ts';
import { PLACE, type Run, World } from './support.ts';

let world: World;

beforeEach(() => {
  world = new World();
  world.host.setRouting(
    {
      destinations: [
        { name: 'team', displayName: 'Team', type: 'channel', channelType: 'terminal', platformId: 'team' },
        { name: 'helper', displayName: 'Helper', type: 'agent', agentGroupId: 'g2' },
      ],
      replyTo: PLACE,
    },
    world.clock.now(),
  );
  writeFileSync(join(world.agentFolder, 'a.txt'), 'what is in it');
});

afterEach(async () => {
  await world.close();
});

/** Simulated time that passes while a disk syncs a file. */
const DISK_MS = 250_000;

/** Ends a run in the way of the test, as the host sees it, and lets its messages become due again. */
type Cut = (run: Run) => Promise<void>;

/** Its process is gone: what it had committed is all that is left of it. */
const killed: Cut = async (run) => {
  world.host.endRun(run.session.runId);
  world.host.beginRun(runId('nobody'), world.clock.now());
  await world.sweep();
  await world.pass(6_000);
};

/** It was asked to leave, and its grace was over. */
const stopped: Cut = async (run) => {
  run.runner.stop();
  run.runner.stop();
  await world.until(() => run.end() !== undefined);
  world.host.endRun(run.session.runId);
  await world.sweep();
  await world.pass(6_000);
};

/** Does `act` in a first run, is cut off after it, and does it again in a second one, which ends. Gives what was told. */
async function twice(
  cut: Cut,
  act: (turn: ScriptedTurn) => Promise<unknown>,
  final: string | null = null,
): Promise<{ answers: unknown[]; done: readonly DoneEffect[]; prompt: string }> {
  const answers: unknown[] = [];
  let done: readonly DoneEffect[] = [];
  let prompt = '';
  const provider = scriptedProvider(async (turn) => {
    ({ done } = turn.prompt);
    prompt = turn.prompt.text;
    answers.push(await act(turn).catch((error: unknown) => String(error)));
    return answers.length === 1 ? new Promise<never>(() => undefined) : final;
  });
  const id = world.say('do it');
  const first = world.run(provider, { policy: { requestWaitMs: 50 } });
  await world.until(() => answers.length === 1, DISK_MS);
  await cut(first);
  world.run(provider, { policy: { requestWaitMs: 50 } });
  await world.until(() => answers.length === 2 && isCompleted(id), DISK_MS);
  return { answers, done, prompt };
}

function isCompleted(messageId: string): boolean {
  const ended = "SELECT 1 FROM processing_ack WHERE message_id = :messageId AND status = 'completed'";
  return world.rows(ended, { messageId }).length > 0;
}

const ACTS: readonly (readonly [string, string, Readonly<Record<string, unknown>>])[] = [
  ['a text', 'send_message', { text: 'hello' }],
  ['a text elsewhere', 'send_message', { text: 'hello', to: 'team' }],
  ['mail', 'send_message', { text: 'hello', to: 'helper' }],
  ['a file', 'send_file', { path: 'a.txt', text: 'here' }],
  ['an edit', 'edit_message', { messageId: 3, text: 'other' }],
  ['a reaction', 'add_reaction', { messageId: 2, emoji: '👍' }],
  ['a card', 'send_card', { card: { title: 'a' }, fallbackText: 'a' }],
  ['a question', 'ask_user_question', { title: 'Drink', question: 'What?', options: ['tea', 'coffee'], timeout: 1 }],
  ['a task', 'schedule_task', { prompt: 'look', processAfter: '2026-12-01T10:00:00Z' }],
  ['a task that repeats', 'schedule_task', { prompt: 'look', recurrence: '0 9 * * *' }],
  ['a change of a task', 'cancel_task', { taskId: 't1' }],
  ['a request', 'create_agent', { name: 'Bob' }],
];

describe.each([
  ['killed', killed],
  ['stopped', stopped],
] as const)('a run that is %s in mid-turn', (_, cut) => {
  it.each(ACTS)(
    'after %s has done it once: the next attempt finds the row, and gives the same answer',
    async (...act) => {
      const [, tool, input] = act;
      await said('to be edited');
      const before = world.sentCount();
      const { answers, done } = await twice(cut, (turn) => turn.call(tool, input));
      const rows = (await world.messages()).slice(before).filter(({ content }) => content['text'] !== NOTHING_SAID);
      expect(rows).toHaveLength(1);
      expect(answers[1]).toEqual(answers[0]);
      expect(done).toMatchObject([{ tool, number: rows[0]?.seq, content: rows[0]?.content }]);
    },
  );
});

/** Lets a run say something, and ends it. */
async function said(text: string): Promise<void> {
  const id = world.say('say it');
  const run = world.run(scriptedProvider(() => text));
  await world.until(() => isCompleted(id));
  run.runner.stop();
  await world.until(() => run.end() !== undefined);
  await world.sweep();
}

describe('what an attempt that was cut off has done', () => {
  it('is told to the next one, which then only goes on from there', async () => {
    const { prompt, done } = await twice(
      killed,
      async (turn) => {
        if (turn.prompt.done.length === 0) await turn.call('send_message', { text: 'hello <b>', to: 'team' });
      },
      'the rest',
    );
    expect(prompt).toContain('cut off');
    expect(prompt).toContain(`<done tool="send_message" number="${done[0]?.number}" in="team">hello &lt;b&gt;</done>`);
    expect(await world.texts()).toEqual(['hello <b>', 'the rest']);
  });

  it('is nothing for a message that is tried for the first time, and for one beside it', async () => {
    const id = world.say('hello');
    const done: number[] = [];
    world.run(
      scriptedProvider(({ prompt }) => {
        done.push(prompt.done.length);
        return prompt.text.includes('cut off') ? 'cut off' : 'new';
      }),
    );
    await world.until(() => isCompleted(id));
    expect([done, await world.texts()]).toEqual([[0], ['new']]);
  });

  it('keeps its place among equals: the same text twice is twice, and not four times', async () => {
    const { answers } = await twice(killed, async (turn) => [
      await turn.call('send_message', { text: 'knock' }),
      await turn.call('send_message', { text: 'knock' }),
    ]);
    expect(await world.texts()).toEqual(['knock', 'knock']);
    expect(answers[1]).toEqual(answers[0]);
  });

  it('is not what has another content, place or file: that is done', async () => {
    let attempt = 0;
    await twice(killed, async (turn) => {
      attempt += 1;
      writeFileSync(join(world.agentFolder, 'a.txt'), `version ${attempt}`);
      await turn.call('send_message', { text: `hello ${attempt}` });
      await turn.call('send_message', { text: 'hello', ...(attempt === 1 ? {} : { to: 'team' }) });
      await turn.call('send_file', { path: 'a.txt', text: 'here' });
    });
    expect(await world.texts()).toEqual(['hello 1', 'hello', 'here', 'hello 2', 'hello', 'here']);
  });

  it('leaves no copy of a file that is not sent again', async () => {
    await twice(killed, (turn) => turn.call('send_file', { path: 'a.txt' }));
    const [message] = await world.messages();
    expect(readdirSync(world.folder.outbound.files)).toEqual([message?.id]);
  });

  it('is not said again by the final text', async () => {
    let attempt = 0;
    await twice(
      killed,
      async (turn) => {
        attempt += 1;
        if (attempt === 1) await turn.call('send_message', { text: 'the answer' });
      },
      'the answer',
    );
    expect(await world.texts()).toEqual(['the answer']);
  });

  it('belongs to each message of the turn, also when they are tried again apart', async () => {
    const [first, second] = [world.say('one'), world.say('two')];
    let calls = 0;
    const provider = scriptedProvider(async (turn) => {
      calls += 1;
      const answer = await turn.call('send_message', { text: 'for both' });
      return calls === 1 ? new Promise<never>(() => undefined) : answer;
    });
    const run = world.run(provider);
    await world.until(() => calls === 1 && world.sentCount() === 1);
    await killed(run);
    world.write('inbound', `UPDATE messages_in SET process_after = process_after + 60000 WHERE id = '${first}'`);
    world.run(provider);
    await world.until(() => isCompleted(second));
    await world.until(() => isCompleted(first), 70_000);
    const number = (await world.messages())[0]?.seq;
    expect(await world.texts()).toEqual(['for both', `Sent as message ${number}.`, `Sent as message ${number}.`]);
  });

  it('stays what it was when more has come in meanwhile, and what that asks is answered', async () => {
    const first = world.say('one');
    const provider = scriptedProvider(async (turn) => {
      for (const { content } of turn.prompt.messages)
        await turn.call('send_message', { text: `to ${content['text']}` });
      return turn.prompt.messages.length === 1 ? new Promise<never>(() => undefined) : null;
    });
    const run = world.run(provider);
    await world.until(() => world.sentCount() === 1);
    await killed(run);
    const second = world.say('two');
    world.run(provider);
    await world.until(() => isCompleted(first) && isCompleted(second));
    expect(await world.texts()).toEqual(['to one', 'to two']);
  });
});

function ask(turn: ScriptedTurn): Promise<string> {
  return turn.call('ask_user_question', {
    title: 'Drink',
    question: 'What?',
    options: ['tea', 'coffee'],
    timeout: 60,
  });
}

describe('an answer', () => {
  it.each([
    ['before the run was killed', 0],
    ['between the runs', 1],
    ['after the question was asked again', 2],
  ] as const)('that came %s is the answer of the one question there is', async (_, when) => {
    const answers: string[] = [];
    const prompts: string[] = [];
    let begun = 0;
    const provider = scriptedProvider(async (turn) => {
      begun += 1;
      const attempt = begun;
      prompts.push(turn.prompt.messages.map(({ content }) => String(content['text'])).join());
      answers.push(await ask(turn));
      return attempt === 1 ? new Promise<never>(() => undefined) : null;
    });
    const answered = async (): Promise<void> => {
      const [question] = await world.messages();
      if (question === undefined) throw new Error('nothing was asked');
      world.say('tea', { id: 'answer', inReplyTo: question.id });
    };
    const id = world.say('ask me');
    const first = world.run(provider);
    await world.until(() => world.sentCount() === 1);
    if (when === 0) {
      await answered();
      await world.until(() => answers.length === 1);
    }
    await killed(first);
    if (when === 1) await answered();
    world.run(provider);
    if (when === 2) {
      await world.until(() => begun === 2);
      await world.pass(20);
      await answered();
    }
    await world.until(() => isCompleted(id) && isCompleted('answer'));
    expect(answers.at(-1)).toBe('Ada: tea');
    expect(prompts).toEqual(['ask me', 'ask me']);
    expect(await world.texts()).toEqual([]);
    expect(world.sentCount()).toBe(1);
  });

  it('to a request is given again, whatever has become of it since', async () => {
    const answers: string[] = [];
    let begun = 0;
    const provider = scriptedProvider(async (turn) => {
      const attempt = ++begun;
      answers.push(await turn.call('schedule_task', { prompt: 'look', recurrence: '0 9 * * *' }));
      return attempt === 1 ? new Promise<never>(() => undefined) : null;
    });
    const id = world.say('every day');
    const first = world.run(provider);
    await world.until(() => world.sentCount() === 1);
    const [request] = await world.messages();
    world.enqueue({
      kind: 'system',
      id: `result/${request?.id}`,
      inReplyTo: request?.id ?? '',
      content: { action: 'schedule_task', status: 'ok', result: 'Scheduled as t1.' },
    });
    await world.until(() => answers.length === 1);
    await killed(first);
    world.run(provider);
    await world.until(() => isCompleted(id));
    expect(answers).toEqual(['Scheduled as t1.', 'Scheduled as t1.']);
    expect((await world.messages()).filter(({ kind }) => kind === 'system')).toHaveLength(1);
  });
});

describe('two attempts at once, of which one is of a run that is taken for dead', () => {
  it('write one row for the same effect', async () => {
    mkdirSync(join(world.root, 'other'));
    const id = world.say('do it');
    const run = world.run(scriptedProvider(() => new Promise<never>(() => undefined)));
    await world.until(() => world.rows('SELECT 1 FROM processing_ack').length === 1);
    const effect = { causes: [id], key: 'k', nth: 0 };
    const row = (n: number): Parameters<typeof run.session.send>[0] => ({
      id: `o${n}`,
      kind: 'chat',
      address: PLACE,
      inReplyTo: id,
      content: { text: 'once' },
    });
    const first = run.session.send(row(1), 1_000, effect);
    const second = world.run(scriptedProvider(() => null)).session.send(row(2), 2_000, effect);
    expect(second).toEqual(first);
    expect(await world.texts()).toEqual(['once']);
  });
});
