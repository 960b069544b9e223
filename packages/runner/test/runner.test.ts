import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { INBOUND_RETRY, type JsonObject } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  LostContinuation,
  ModelTrouble,
  type ScriptedTurn,
  scriptedProvider,
} from '../../providers/src/scripted/scripted.ts';
import type { Provider, Turn } from '../src/index.ts';
import { NOTHING_SAID } from '../src/reply.ts';
import { OTHER_PLACE, PLACE, World } from './support.ts';

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(async () => {
  await world.close();
});

/** Answers each prompt with the texts of its messages. */
function echo(): Provider {
  return scriptedProvider(
    ({ prompt }) => `echo ${prompt.messages.map((one) => String(one.content['text'])).join(', ')}`,
  );
}

/** A gate that a script waits at. */
function gate(): { passed: Promise<void>; open: () => void } {
  const { promise: passed, resolve: open } = Promise.withResolvers<void>();
  return { passed, open };
}

function ask(turn: ScriptedTurn): Promise<string> {
  return turn.call('ask_user_question', {
    title: 'Drink',
    question: 'Tea or coffee?',
    options: ['tea', 'coffee'],
    timeout: 10,
  });
}

describe('a turn', () => {
  it('is answered and acknowledged in one transaction, in reply to the message that asked', async () => {
    const id = world.say('hello');
    world.run(echo());
    await world.until(() => world.isEnded(id));
    const { messages, acks } = await world.written();
    expect(acks.map((ack) => ack.status)).toEqual(['completed']);
    expect(messages).toMatchObject([{ kind: 'chat', address: PLACE, inReplyTo: id, content: { text: 'echo hello' } }]);
    expect(messages[0]?.timestamp).toBe(acks[0]?.statusChanged);
  });

  it('takes several due messages of one place, oldest first, with the context that goes before them', async () => {
    world.say('old news', { trigger: 'context' });
    world.say('one');
    const last = world.say('two');
    world.run(echo());
    await world.until(() => world.isEnded(last));
    expect(await world.texts()).toEqual(['echo old news, one, two']);
    expect(await world.acks()).toEqual(['m1 completed', 'm2 completed', 'm3 completed']);
  });

  it('belongs to one place: messages of two chats are answered in two turns, each where it was asked', async () => {
    world.say('here');
    const there = world.say('there', { address: OTHER_PLACE });
    world.run(echo());
    await world.until(() => world.isEnded(there));
    expect((await world.messages()).map(({ address, content }) => [address, content['text']])).toEqual([
      [PLACE, 'echo here'],
      [OTHER_PLACE, 'echo there'],
    ]);
  });

  it('belongs to one thread: what two threads of a chat ask is answered in two turns, each in its own (failure 29)', async () => {
    const threads = ['t1', 't2'].map((threadId) => ({ ...PLACE, threadId }));
    const ids = threads.map((address) => world.say(`in ${address.threadId}`, { address }));
    world.run(echo());
    await world.until(() => ids.every((id) => world.isEnded(id)));
    expect((await world.messages()).map(({ address, content }) => [address, content['text']])).toEqual([
      [threads[0], 'echo in t1'],
      [threads[1], 'echo in t2'],
    ]);
  });

  it('whose provider fails ends its messages as failed with the reason, says nothing, and is tried again', async () => {
    const id = world.say('hello');
    let tries = 0;
    world.run(
      scriptedProvider(() => {
        tries += 1;
        if (tries === 1) throw new Error('status 500');
        return 'better now';
      }),
    );
    await world.until(() => world.isEnded(id));
    expect(await world.acks()).toEqual(['m1 failed: status 500']);
    expect(await world.messages()).toEqual([]);
    await world.sweep();
    await world.until(() => world.sentCount() === 1);
    expect(await world.texts()).toEqual(['better now']);
    expect(await world.acks()).toEqual(['m1 failed: status 500', 'm1 completed']);
  });

  it('of a provider that breaks its promise and throws, or ends without a result, is failed', async () => {
    const turns = [
      {
        events: (async function* () {
          yield await Promise.reject<never>(new Error('a bug'));
        })(),
      },
      { events: (async function* () {})() },
    ];
    const provider: Provider = {
      name: 'broken',
      start: () => {
        const turn = turns.shift();
        if (turn === undefined) throw new Error('no more turns');
        return { ...turn, push: () => false, abort: () => undefined };
      },
    };
    const first = world.say('one');
    const second = world.say('two', { address: OTHER_PLACE });
    world.run(provider);
    await world.until(() => world.isEnded(first) && world.isEnded(second));
    expect(await world.acks()).toEqual([
      'm1 failed: The provider broke its promise and threw: a bug',
      'm2 failed: The provider ended without a result.',
    ]);
  });

  it('leaves a record with its usage, also when it failed', async () => {
    const id = world.say('hello');
    const usage = { inputTokens: 7, outputTokens: 2, cacheReadTokens: 5, costUsd: 0.25 };
    const columns = { input_tokens: 7, output_tokens: 2, cache_read_tokens: 5, cost_usd: 0.25 };
    const provider: Provider = {
      name: 'counting',
      start: ({ messages }) => ({
        events: (async function* () {
          const said = messages.at(-1)?.content['text'];
          if (said === 'hello') yield { type: 'result' as const, text: 'hi', usage };
          const failure = { type: 'error', kind: 'failed', reason: 'it failed', lostContinuation: false } as const;
          yield said === 'fail' ? { ...failure, usage } : failure;
        })(),
        push: () => false,
        abort: () => undefined,
      }),
    };
    world.run(provider);
    await world.until(() => world.isEnded(id));
    const failed = world.say('fail');
    await world.until(() => world.isEnded(failed));
    const unknown = world.say('fail without a word');
    await world.until(() => world.isEnded(unknown));
    expect(
      world.rows(`SELECT outcome, message_count, input_tokens, output_tokens, cache_read_tokens, cost_usd FROM turns`),
    ).toEqual([
      { outcome: 'completed', message_count: 1, ...columns },
      { outcome: 'failed', message_count: 1, ...columns },
      {
        outcome: 'failed',
        message_count: 1,
        input_tokens: null,
        output_tokens: null,
        cache_read_tokens: null,
        cost_usd: null,
      },
    ]);
  });
});

describe('a model that is in the way', () => {
  it('defers the messages of its turn, with what it says of its trouble, and costs them no try', async () => {
    const ids = [world.say('one'), world.say('two')];
    const troubles = [
      new ModelTrouble('unavailable', 'status 529', 60_000),
      new ModelTrouble('refused', 'no credit'),
      ...[Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY].map((ms) => new ModelTrouble('unavailable', 'odd', ms)),
    ];
    const waits: unknown[] = [];
    world.run(
      scriptedProvider(() => {
        const trouble = troubles.shift();
        if (trouble !== undefined) throw trouble;
        return 'back again';
      }),
    );
    for (let tries = 1; tries <= 6; tries++) {
      await world.until(
        () => world.rows("SELECT 1 FROM processing_ack WHERE status = 'deferred'").length === 2 * tries,
      );
      const acks = (await world.written()).acks.slice(-2);
      waits.push(acks.map((ack) => ack.status === 'deferred' && [ack.kind, ack.error, ack.retryAfterMs])[1]);
      await world.sweep();
      expect(world.host.message(ids[0] ?? '')).toMatchObject({ status: 'pending', tries, triesBefore: tries });
      world.host.deferrals.retryNow(world.clock.now());
      world.ring();
    }
    await world.until(() => world.sentCount() === 1);
    expect(await world.texts()).toEqual(['back again']);
    expect(waits).toEqual([
      ['unavailable', 'status 529', 60_000],
      ['refused', 'no credit', null],
      ['unavailable', 'odd', null],
      ['unavailable', 'odd', null],
      ['unavailable', 'odd', 1],
      ['unavailable', 'odd', Number.MAX_SAFE_INTEGER],
    ]);
    expect(new Set(world.rows('SELECT outcome FROM turns').map((row) => JSON.stringify(row))).size).toBe(2);
  });

  it('does not make the attempts before a conversation is left out fewer', async () => {
    const seen: (string | undefined)[] = [];
    world.say('hello');
    world.run(
      scriptedProvider((turn) => {
        seen.push(turn.options.continuation);
        turn.emit({ type: 'continuation', token: 'token' });
        if (seen.length < 7) throw new ModelTrouble('unavailable', 'away');
        throw new Error('it fails');
      }),
    );
    for (let tries = 1; tries <= 11; tries++) {
      await world.until(() => seen.length === tries && world.rows('SELECT 1 FROM turns').length === tries);
      // As if the backoff of what failed were over.
      world.host.settle(await world.written(), world.clock.now() - INBOUND_RETRY.backoffMaxMs, INBOUND_RETRY);
      world.host.deferrals.retryNow(world.clock.now());
      world.ring();
    }
    expect(seen.map((token) => token !== undefined)).toEqual([false, ...Array<boolean>(9).fill(true), false]);
    expect(world.host.message('m1')).toMatchObject({ status: 'failed' });
  });
});

/** What the host is told that the run waits for, and for how long at most. */
async function waitedFor(): Promise<unknown> {
  return (await world.written()).container?.tools.map(({ name, timeoutMs }) => [name, timeoutMs]);
}

async function* never(): AsyncGenerator<never, void> {
  yield await new Promise<never>(() => undefined);
}

/** A turn that tells nothing, and does not obey. */
const STUBBORN: Turn = { events: never(), push: () => false, abort: () => undefined };

describe('a model that gives no sign', () => {
  const policy = { modelQuietMs: 2_000, modelSilenceMaxMs: 5_000 };

  it('is said, and at last counts as unavailable: the next attempt answers', async () => {
    const id = world.say('hello');
    let turns = 0;
    world.run(
      scriptedProvider(() => {
        turns += 1;
        return turns === 1 ? new Promise<never>(() => undefined) : 'here I am';
      }),
      { policy },
    );
    await world.pass(1_900);
    expect(await waitedFor()).toEqual([]);
    await world.pass(200);
    expect(await waitedFor()).toEqual([['the model', 15_000]]);
    await world.until(() => world.isEnded(id), 4_000);
    expect((await world.written()).acks).toMatchObject([
      { status: 'deferred', kind: 'unavailable', error: 'The model was asked and gave no sign for minutes.' },
    ]);
    expect(await waitedFor()).toEqual([]);
    await world.sweep();
    await world.until(() => world.sentCount() === 1);
    expect(await world.texts()).toEqual(['here I am']);
  });

  it('is deferred, too, when its provider does not obey; the run then ends', async () => {
    const id = world.say('hello');
    const run = world.run({ name: 'stubborn', start: () => STUBBORN }, { policy });
    await world.until(() => world.isEnded(id));
    expect((await world.written()).acks).toMatchObject([{ status: 'deferred', kind: 'unavailable' }]);
    await world.until(() => run.end() !== undefined);
    expect(run.end()).toEqual({ type: 'abort-timeout' });
  });

  it('is not one that goes on with signs, or waits for a tool', async () => {
    const id = world.say('hello');
    world.run(
      scriptedProvider(async (turn) => {
        for (let i = 0; i < 4; i++) {
          await new Promise<void>((resolve) => void world.clock.setTimer(1_500, resolve));
          turn.emit({ type: 'progress' });
        }
        await turn.call('ask_user_question', { title: 'x', question: 'y', options: ['a', 'b'], timeout: 12 });
        return 'done';
      }),
      { policy },
    );
    await world.until(() => world.isEnded(id), 30_000);
    expect(await world.acks()).toEqual([`${id} completed`]);
  });
});

describe('a follow-up', () => {
  it('is fed into the running turn of its place and acknowledged with it (failure 7)', async () => {
    const first = world.say('hello');
    const done = gate();
    world.run(
      scriptedProvider(async (turn) => {
        const next = await turn.followUp();
        await done.passed;
        return `both: ${String(turn.prompt.messages[0]?.content['text'])}, ${String(next.messages[0]?.content['text'])}`;
      }),
    );
    await world.pass(50);
    const second = world.say('and this');
    await world.pass(50);
    expect(world.isEnded(first) || world.isEnded(second)).toBe(false);
    done.open();
    await world.until(() => world.isEnded(second));
    expect(await world.texts()).toEqual(['both: hello, and this']);
    expect(await world.acks()).toEqual(['m1 completed', 'm2 completed']);
    expect((await world.messages())[0]?.inReplyTo).toBe(second);
  });

  it('that the provider does not take is the next turn’s', async () => {
    const done = gate();
    const inner = scriptedProvider(async ({ prompt }) => {
      await done.passed;
      return `echo ${prompt.messages.map((one) => String(one.content['text'])).join(', ')}`;
    });
    const full: Provider = {
      name: 'full',
      start: (...args) => ({ ...inner.start(...args), push: () => false }),
    };
    world.say('one');
    world.run(full);
    await world.pass(50);
    const second = world.say('two');
    await world.pass(50);
    done.open();
    await world.until(() => world.isEnded(second));
    expect(await world.texts()).toEqual(['echo one', 'echo two']);
  });

  it('of another chat waits for its own turn, and its answer goes to its own thread (failure 29)', async () => {
    const done = gate();
    world.say('one');
    world.run(
      scriptedProvider(async ({ prompt }) => {
        await done.passed;
        return `echo ${String(prompt.messages[0]?.content['text'])}`;
      }),
    );
    await world.pass(50);
    const second = world.say('two', { address: OTHER_PLACE });
    await world.pass(50);
    done.open();
    await world.until(() => world.isEnded(second));
    expect((await world.messages()).map(({ address, inReplyTo }) => [address, inReplyTo])).toEqual([
      [PLACE, 'm1'],
      [OTHER_PLACE, second],
    ]);
  });
});

describe('what is said', () => {
  it('appears once: a final text is not sent where a tool has sent the same (failure 42)', async () => {
    const id = world.say('hello');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'the answer' });
        return ' the answer\n';
      }),
    );
    await world.until(() => world.isEnded(id));
    expect(await world.texts()).toEqual(['the answer']);
    expect((await world.messages())[0]).toMatchObject({ inReplyTo: id, address: PLACE });
  });

  it('of two messages in one turn is all said: one by a tool, the other by the final text', async () => {
    world.say('send one');
    const id = world.say('two');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'answer to one' });
        return 'answer to two';
      }),
    );
    await world.until(() => world.isEnded(id));
    expect(await world.texts()).toEqual(['answer to one', 'answer to two']);
    expect(await world.acks()).toEqual(['m1 completed', 'm2 completed']);
  });

  it('beside a file, a card, an edit or a question is said too', async () => {
    writeFileSync(join(world.agentFolder, 'a.txt'), 'a');
    const acts: Readonly<Record<string, (turn: ScriptedTurn) => Promise<unknown>>> = {
      file: (turn) => turn.call('send_file', { path: 'a.txt', text: 'here it is' }),
      card: (turn) => turn.call('send_card', { card: { title: 'a' } }),
      edit: (turn) => turn.call('edit_message', { messageId: 3, text: 'edited' }),
    };
    world.run(
      scriptedProvider(async (turn) => {
        const asked = String(turn.prompt.messages[0]?.content['text']);
        await acts[asked]?.(turn);
        return `all of ${asked}`;
      }),
    );
    for (const asked of Object.keys(acts)) {
      const id = world.say(asked);
      await world.until(() => world.isEnded(id));
    }
    expect((await world.texts()).filter((text) => text.startsWith('all of'))).toEqual([
      'all of file',
      'all of card',
      'all of edit',
    ]);
  });

  it('before a follow-up does not answer it', async () => {
    world.say('one');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'first answer' });
        await turn.followUp();
        return 'second answer';
      }),
    );
    await world.until(() => world.sentCount() === 1);
    const second = world.say('two');
    await world.until(() => world.isEnded(second));
    expect(await world.texts()).toEqual(['first answer', 'second answer']);
  });

  it('before a follow-up does not answer it in the same words either (failure 61)', async () => {
    world.say('may I?');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'Yes.' });
        await turn.followUp();
        return 'Yes.';
      }),
    );
    await world.until(() => world.sentCount() === 1);
    const second = world.say('and Bob?');
    await world.until(() => world.isEnded(second));
    expect(await world.texts()).toEqual(['Yes.', 'Yes.']);
  });

  it('is one notice when nothing came after a follow-up, whatever was said before it', async () => {
    world.say('one');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'first answer' });
        await turn.followUp();
        return null;
      }),
    );
    await world.until(() => world.sentCount() === 1);
    const second = world.say('two');
    await world.until(() => world.isEnded(second));
    expect(await world.texts()).toEqual(['first answer', NOTHING_SAID]);
  });

  it('is one notice when a person asked and nothing came of it', async () => {
    const id = world.say('hello');
    world.run(scriptedProvider(() => '<internal>nothing to add</internal>'));
    await world.until(() => world.isEnded(id));
    expect(await world.texts()).toEqual([NOTHING_SAID]);
  });

  it('is nothing when no person asked: a task, a result, another agent', async () => {
    world.enqueue({ kind: 'task', content: { prompt: 'look around' } });
    world.enqueue({ kind: 'system', content: { action: 'cli_request', status: 'ok', result: 'done' } });
    const last = world.say('hello, agent', { sourceSessionId: 'other-session' });
    world.run(scriptedProvider(() => null));
    await world.until(() => world.isEnded(last));
    expect(await world.messages()).toEqual([]);
  });

  it('can be a reaction alone, without a notice', async () => {
    const id = world.say('hello');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('add_reaction', { messageId: turn.prompt.messages[0]?.seq ?? 0, emoji: '👍' });
        return null;
      }),
    );
    await world.until(() => world.isEnded(id));
    expect((await world.messages()).map((one) => one.content)).toEqual([
      { operation: 'reaction', messageId: 2, emoji: '👍' },
    ]);
  });

  it('goes to a destination by name, and the rest to the origin', async () => {
    world.host.setRouting(
      {
        destinations: [
          { name: 'team', displayName: 'The team', type: 'channel', channelType: 'terminal', platformId: 'team' },
        ],
        replyTo: PLACE,
      },
      world.clock.now(),
    );
    const id = world.say('tell the team');
    world.run(scriptedProvider(() => 'Told them.<message to="team">hello team</message>'));
    await world.until(() => world.isEnded(id));
    expect((await world.messages()).map(({ address, content }) => [address?.platformId, content['text']])).toEqual([
      ['team', 'hello team'],
      ['main', 'Told them.'],
    ]);
  });
});

describe('poison', () => {
  it('fails alone, and its neighbours are answered (failure 27)', async () => {
    world.say('before');
    world.enqueue({ content: { text: 12 } });
    world.enqueue({ content: { text: null, attachments: 'many' } });
    world.enqueue({ content: {} });
    world.enqueue({ kind: 'task', content: { prompt: ['no'] } });
    world.enqueue({ kind: 'webhook', content: { source: 's', event: 'e', payload: nested(100) } });
    world.enqueue({ kind: 'system', content: { status: 'ok' } });
    world.plant('raw-null', 'null');
    world.plant('raw-number', '17');
    world.plant('raw-text', '{"text": "unclosed');
    world.plant('raw-deep', `{"text":${'['.repeat(3_000)}${']'.repeat(3_000)}}`);
    const after = world.say('after');
    world.run(echo(), { policy: { messagesPerPrompt: 20 } });
    await world.until(() => world.isEnded(after));
    expect(await world.texts()).toEqual(['echo before, after']);
    const acks = await world.acks();
    expect(acks.filter((ack) => ack.includes('completed'))).toEqual(['m1 completed', `${after} completed`]);
    expect(acks.filter((ack) => ack.includes('failed: '))).toHaveLength(10);
  });
});

describe('lanes', () => {
  it('a due task is found behind more context and control rows than a claim takes (failure 26)', async () => {
    const task = world.enqueue({ kind: 'task', content: { prompt: 'do it' } });
    for (let i = 0; i < 60; i++) world.say(`context ${i}`, { trigger: 'context' });
    for (let i = 0; i < 60; i++)
      world.enqueue({ kind: 'system', content: { action: 'x', status: 'ok' }, address: OTHER_PLACE });
    world.run(scriptedProvider(() => 'done'));
    await world.until(() => world.isEnded(task));
    expect((await world.acks()).find((ack) => ack.startsWith(task))).toBe(`${task} completed`);
  });

  it('context alone wakes no turn, also in a warm run (failure 28)', async () => {
    const first = world.say('hello');
    let turns = 0;
    world.run(
      scriptedProvider(() => {
        turns += 1;
        return 'hi';
      }),
    );
    await world.until(() => world.isEnded(first));
    world.say('by the way', { trigger: 'context' });
    await world.pass(3_000);
    expect(turns).toBe(1);
    expect(await world.texts()).toEqual(['hi']);
  });

  it('works off more than one prompt’s worth of messages', async () => {
    for (let i = 0; i < 35; i++) world.say(`n${i}`);
    world.run(scriptedProvider(({ prompt }) => String(prompt.messages.length)));
    await world.until(() => world.isEnded('m35'));
    expect((await world.acks()).length).toBe(35);
    expect(
      (await world.texts())
        .join('\n')
        .split('\n')
        .map(Number)
        .reduce((a, b) => a + b, 0),
    ).toBe(35);
  });

  it('takes a message at its time, without a bell', async () => {
    world.run(echo());
    await world.pass(2_000);
    const id = world.say('later', { processAfter: world.clock.now() + 700 });
    await world.pass(600);
    expect(world.isEnded(id)).toBe(false);
    await world.until(() => world.isEnded(id), 150);
  });
});

describe('commands', () => {
  it('/stop aborts the running turn within a second, ends what was asked, and says so (failures 28, 57)', async () => {
    const id = world.say('work for ever');
    let signal: AbortSignal | undefined;
    world.run(
      scriptedProvider((turn) => {
        signal = turn.signal;
        return new Promise<never>(() => undefined);
      }),
    );
    await world.pass(500);
    const stop = world.enqueue({ kind: 'command', content: { text: '/stop' } });
    await world.until(() => world.isEnded(stop), 1_000);
    expect(signal?.aborted).toBe(true);
    expect(await world.acks()).toEqual([`${id} completed`, `${stop} completed`]);
    expect(await world.texts()).toEqual(['Stopped. What was sent or changed until now stays; write again to go on.']);
  });

  it('/stop ends the turn of a provider that does not obey, and then the run', async () => {
    const id = world.say('work for ever');
    const stubborn: Provider = {
      name: 'stubborn',
      start: () => ({
        events: (async function* () {
          yield { type: 'progress' as const };
          yield await new Promise<never>(() => undefined);
        })(),
        push: () => true,
        abort: () => undefined,
      }),
    };
    const run = world.run(stubborn);
    await world.pass(100);
    world.enqueue({ kind: 'command', content: { text: '/stop' } });
    await world.until(() => world.isEnded(id), 1_000);
    await world.until(() => run.end() !== undefined);
    expect(run.end()).toEqual({ type: 'abort-timeout' });
    expect((await world.acks()).every((ack) => ack.endsWith('completed'))).toBe(true);
  });

  it('/stop without a running turn is answered', async () => {
    const stop = world.enqueue({ kind: 'command', content: { text: '/stop' } });
    world.run(echo());
    await world.until(() => world.isEnded(stop));
    expect(await world.texts()).toEqual(['Nothing is running, so there is nothing to stop.']);
  });

  it('/clear makes the next turn start afresh, also when it comes while a turn runs', async () => {
    const seen: (string | undefined)[] = [];
    const proceed = gate();
    const provider = scriptedProvider(async (turn) => {
      seen.push(turn.options.continuation);
      turn.emit({ type: 'continuation', token: `token-${seen.length}` });
      if (seen.length === 2) {
        await proceed.passed;
        turn.emit({ type: 'continuation', token: 'too late' });
      }
      return 'ok';
    });
    const first = world.say('one');
    world.run(provider);
    await world.until(() => world.isEnded(first));
    world.say('two');
    await world.until(() => seen.length === 2);
    const clear = world.enqueue({ kind: 'command', content: { text: '/clear' } });
    await world.until(() => world.isEnded(clear));
    const third = world.say('three');
    await world.pass(100);
    proceed.open();
    await world.until(() => world.isEnded(third));
    expect(seen).toEqual([undefined, 'token-1', undefined]);
    expect((await world.texts())[1]).toMatch(/^The conversation is cleared/);
  });

  it('are exact words: others in a command row are refused, and in a chat they are only text (failure 33)', async () => {
    const refused = ['/clear@bot', '/clearx', '/STOP', '/stop now', ' /stop'].map((text) =>
      world.enqueue({ kind: 'command', content: { text } }),
    );
    const chat = world.say('/stop');
    let asked = '';
    world.run(
      scriptedProvider((turn) => {
        asked = turn.prompt.text;
        return 'just text';
      }),
    );
    await world.until(() => world.isEnded(chat));
    expect(asked).toMatch(/<message [^>]*>\/stop<\/message>/);
    const acks = await world.acks();
    for (const id of refused)
      expect(acks.find((ack) => ack.startsWith(`${id} `))).toMatch(/failed: Its text is none of/);
  });

  it('of the provider reach it raw and alone', async () => {
    world.say('hello');
    const cost = world.enqueue({ kind: 'command', content: { text: '/cost' } });
    world.say('bye');
    const prompts: string[] = [];
    world.run(
      scriptedProvider((turn) => {
        prompts.push(turn.prompt.text);
        return 'ok';
      }),
    );
    await world.until(() => world.isEnded(cost) && world.isEnded('m3'));
    expect(prompts.filter((prompt) => !prompt.startsWith('<now'))).toEqual(['/cost']);
  });
});

describe('the conversation', () => {
  it('is kept from the moment its token is known, so that a killed run can be resumed (failure 58)', async () => {
    world.say('hello');
    const first = world.run(
      scriptedProvider((turn) => {
        turn.emit({ type: 'continuation', token: 'c1' });
        return new Promise<never>(() => undefined);
      }),
    );
    await world.pass(50);
    expect(first.session.continuation('scripted')).toBe('c1');
  });

  it('that proves dead is put aside, and the turn starts afresh with one notice and no try paid (failure 58)', async () => {
    const tokens: (string | undefined)[] = [];
    const provider = scriptedProvider((turn) => {
      tokens.push(turn.options.continuation);
      if (turn.options.continuation === 'dead') throw new LostContinuation('no such conversation');
      turn.emit({ type: 'continuation', token: tokens.length === 1 ? 'dead' : 'fresh' });
      return `answer ${tokens.length}`;
    });
    const first = world.say('one');
    const run = world.run(provider);
    await world.until(() => world.isEnded(first));
    const second = world.say('two');
    await world.until(() => world.isEnded(second));
    expect(tokens).toEqual([undefined, 'dead', undefined]);
    expect(await world.acks()).toEqual(['m1 completed', 'm2 completed']);
    const texts = await world.texts();
    expect(texts).toHaveLength(3);
    expect(texts[1]).toMatch(/^The earlier conversation could not be taken up again/);
    expect(texts[2]).toBe('answer 3');
    expect(run.session.continuation('scripted')).toBe('fresh');
    expect(world.rows("SELECT value FROM session_state WHERE key = 'dead-continuation:scripted'")).toEqual([
      { value: 'dead' },
    ]);
  });

  it('that kills every run is left out of a message’s last attempt, and given up only if that helps', async () => {
    let works = false;
    const tokens: (string | undefined)[] = [];
    const provider = scriptedProvider((turn) => {
      tokens.push(turn.options.continuation);
      if (tokens.length === 1) turn.emit({ type: 'continuation', token: 'poisoned' });
      else if (!works) {
        if (turn.options.continuation === undefined) turn.emit({ type: 'continuation', token: 'not proven' });
        throw new Error('crash');
      } else turn.emit({ type: 'continuation', token: 'fresh' });
      return 'ok';
    });
    const first = world.say('one');
    const run = world.run(provider);
    await world.until(() => world.isEnded(first));
    world.say('two');
    for (let attempt = 1; attempt <= 5; attempt++) {
      await world.until(() => tokens.length === attempt + 1, 200_000);
      await world.settle();
      await world.sweep();
    }
    expect(tokens).toEqual([undefined, 'poisoned', 'poisoned', 'poisoned', 'poisoned', undefined]);
    expect(run.session.continuation('scripted')).toBe('poisoned');
    works = true;
    world.say('three');
    await world.until(() => world.isEnded('m3'));
    expect(tokens.at(-1)).toBe('poisoned');
  });
});

describe('a task with a script', () => {
  const script = 'echo';

  it('goes to the model only when its script says so, with what it printed', async () => {
    const seen: string[] = [];
    world.enqueue({ kind: 'task', content: { prompt: 'look', script } });
    world.run(
      scriptedProvider((turn) => {
        seen.push(turn.prompt.text);
        return 'looked';
      }),
      {
        runScript: async () => ({
          type: 'exited',
          code: 0,
          stdout: 'noise\n{"wakeAgent":true,"data":{"n":3}}\n',
          stderr: '',
        }),
      },
    );
    await world.until(() => world.isEnded('m1'));
    expect(seen[0]).toContain('<script-output>{"n":3}</script-output>');
    expect(await world.texts()).toEqual(['looked']);
  });

  it('is skipped when the script says false and failed when the script fails, for follow-ups alike (failure 28)', async () => {
    const done = gate();
    let prompts = 0;
    const ends = [
      { type: 'exited' as const, code: 0, stdout: '{"wakeAgent":false}', stderr: '' },
      { type: 'exited' as const, code: 3, stdout: '', stderr: 'no such host' },
      { type: 'timed-out' as const },
      { type: 'exited' as const, code: 0, stdout: 'hello', stderr: '' },
    ];
    const chat = world.say('hello');
    world.run(
      scriptedProvider(async () => {
        prompts += 1;
        await done.passed;
        return 'hi';
      }),
      { runScript: async () => ends.shift() ?? { type: 'not-started', reason: 'too many' } },
    );
    await world.pass(50);
    for (let i = 0; i < 4; i++) world.enqueue({ kind: 'task', content: { prompt: `t${i}`, script } });
    await world.until(() => world.isEnded('m5'));
    done.open();
    await world.until(() => world.isEnded(chat));
    expect(prompts).toBe(1);
    expect(await world.acks()).toEqual([
      'm2 completed',
      "m3 failed: The task's script exited with 3 (no such host). The model was not asked.",
      "m4 failed: The task's script took longer than 30 s and was ended. The model was not asked.",
      `m5 failed: The task's script did not end with a line of JSON that has "wakeAgent": true or false. The model was not asked.`,
      'm1 completed',
    ]);
  });
});

describe('the host sees', () => {
  it('each tool in flight with its own time-out, several at once (failure 4)', async () => {
    world.say('hello');
    const done = gate();
    world.run(
      scriptedProvider(async (turn) => {
        turn.emit({ type: 'tool-started', toolUseId: 'a', name: 'Bash', timeoutMs: 600_000 });
        turn.emit({ type: 'tool-started', toolUseId: 'b', name: 'Read' });
        await done.passed;
        turn.emit({ type: 'tool-ended', toolUseId: 'b' });
        return new Promise<never>(() => undefined);
      }),
    );
    await world.pass(50);
    const tools = async (): Promise<unknown> =>
      (await world.written()).container?.tools.map(({ name, timeoutMs }) => [name, timeoutMs]);
    expect(await tools()).toEqual([
      ['Bash', 600_000],
      ['Read', null],
    ]);
    done.open();
    await world.pass(50);
    expect(await tools()).toEqual([['Bash', 600_000]]);
  });

  it('progress from the provider’s events, and no tool once its turn is over', async () => {
    const id = world.say('hello');
    const done = gate();
    world.run(
      scriptedProvider(async (turn) => {
        turn.emit({ type: 'tool-started', toolUseId: 'a', name: 'Bash', timeoutMs: 600_000 });
        await done.passed;
        turn.emit({ type: 'progress' });
        return 'ok';
      }),
    );
    await world.pass(60_000);
    const before = (await world.written()).container?.progressAt ?? 0;
    done.open();
    await world.until(() => world.isEnded(id));
    const after = (await world.written()).container;
    expect((after?.progressAt ?? 0) - before).toBeGreaterThanOrEqual(59_000);
    expect(after?.tools).toEqual([]);
  });

  it('a heartbeat from a timer, however silent the turn is', async () => {
    world.say('hello');
    world.run(scriptedProvider(() => new Promise<never>(() => undefined)));
    await world.pass(60_000);
    expect(world.clock.now() - (world.lastBeat() ?? 0)).toBeLessThanOrEqual(5_010);
  });
});

describe('a run', () => {
  it('that another has replaced stops at once and writes nothing more (failure 10)', async () => {
    const id = world.say('hello');
    let signal: AbortSignal | undefined;
    let late: Promise<string> | undefined;
    const old = world.run(
      scriptedProvider((turn) => {
        signal = turn.signal;
        turn.signal.addEventListener('abort', () => {
          late = turn.call('send_message', { text: 'from the grave' }).catch((error: unknown) => String(error));
        });
        return new Promise<never>(() => undefined);
      }),
    );
    await world.pass(100);
    world.replaceRun('run-next');
    world.say('for the successor');
    await world.until(() => old.end() !== undefined, 1_100);
    expect(old.end()).toEqual({ type: 'fenced', liveRunId: 'run-next' });
    expect(signal?.aborted).toBe(true);
    expect(await late).toMatch(/This turn is over, so nothing was sent/);
    expect(await world.messages()).toEqual([]);
    expect(world.isEnded(id)).toBe(false);
    expect((await world.written()).openClaims.map((claim) => claim.messageId)).toEqual([id]);
  });

  it('that is asked to stop takes nothing more, so the next message is its successor’s (failure 10)', async () => {
    const id = world.say('hello');
    const done = gate();
    const run = world.run(
      scriptedProvider(async () => {
        await done.passed;
        return 'just in time';
      }),
    );
    await world.pass(100);
    run.runner.stop();
    const next = world.say('next');
    await world.pass(100);
    done.open();
    await world.until(() => run.end() !== undefined);
    expect(run.end()).toEqual({ type: 'stopped' });
    expect(await world.acks()).toEqual([`${id} completed`]);
    expect(await world.texts()).toEqual(['just in time']);
    expect((await world.written()).openClaims).toEqual([]);
    expect(world.host.message(next)?.status).toBe('pending');
  });

  it('that is asked to stop ends a turn that goes on too long, as failed, and what waits as well', async () => {
    world.say('hello');
    world.say('elsewhere', { address: OTHER_PLACE });
    const run = world.run(scriptedProvider(() => new Promise<never>(() => undefined)));
    await world.pass(100);
    run.runner.stop();
    await world.until(() => run.end() !== undefined, 4_000);
    expect(run.end()).toEqual({ type: 'stopped' });
    expect((await world.acks()).toSorted()).toEqual([
      'm1 failed: The run was asked to stop before the turn was done.',
      'm2 failed: The run was asked to stop before the message had its turn.',
    ]);
  });

  it('leaves by itself when there is nothing to do for a while, and not before', async () => {
    const run = world.run(echo(), { policy: { idleExitMs: 2_000 } });
    await world.pass(1_500);
    const id = world.say('still here?');
    await world.until(() => world.isEnded(id));
    await world.pass(1_500);
    expect(run.end()).toBeUndefined();
    await world.until(() => run.end() !== undefined, 3_000);
    expect(run.end()).toEqual({ type: 'idle' });
  });

  it('refuses a policy figure that is none', () => {
    expect(() => world.run(echo(), { policy: { idleExitMs: 0 } })).toThrow(RangeError);
  });
});

describe('a locked file', () => {
  it('of the runner’s own delays the end of a turn, and loses nothing', async () => {
    const done = gate();
    const id = world.say('hello');
    world.run(
      scriptedProvider(async () => {
        await done.passed;
        return 'hi';
      }),
    );
    await world.pass(50);
    const unlock = world.lock('outbound');
    done.open();
    await world.pass(1_000);
    unlock();
    await world.until(() => world.isEnded(id), 200);
    expect(await world.texts()).toEqual(['hi']);
  });

  it('of the host’s is looked at again, and again', async () => {
    world.run(echo());
    await world.pass(50);
    const unlock = world.lock('inbound');
    world.ring();
    await world.pass(3_000);
    unlock();
    const id = world.say('hello');
    await world.until(() => world.isEnded(id), 1_500);
  });
});

describe('a claim that another hand has ended', () => {
  it('ends the run, with nothing of its turn written', async () => {
    const done = gate();
    world.say('hello');
    const run = world.run(
      scriptedProvider(async () => {
        await done.passed;
        return 'hi';
      }),
    );
    await world.pass(50);
    world.write('outbound', "UPDATE processing_ack SET status = 'failed', error = 'by hand'");
    done.open();
    await world.until(() => run.end() !== undefined);
    expect(run.end()).toEqual({ type: 'fenced', liveRunId: undefined });
    expect(await world.messages()).toEqual([]);
  });
});

describe('old rows', () => {
  it('are forgotten once the host has taken them over, a month later', async () => {
    const id = world.say('hello');
    const run = world.run(echo());
    await world.until(() => world.isEnded(id));
    await world.sweep();
    const last = world.say('and this');
    await world.until(() => world.isEnded(last));
    await world.sweep();
    run.runner.stop();
    await world.until(() => run.end() !== undefined);
    world.clock.advance(31 * 86_400_000);
    world.run(echo());
    await world.pass(100);
    expect(world.rows('SELECT message_id FROM processing_ack')).toEqual([{ message_id: last }]);
  });
});

describe('a question', () => {
  it('waits for its answer, which goes to the turn that asked and is acknowledged with it (failure 32)', async () => {
    const id = world.say('ask me');
    world.run(scriptedProvider(async (turn) => `You chose: ${await ask(turn)}`));
    await world.until(() => world.sentCount() === 1);
    const [question] = await world.messages();
    expect(question).toMatchObject({
      inReplyTo: id,
      address: PLACE,
      content: { operation: 'ask_question', title: 'Drink', options: ['tea', 'coffee'] },
    });
    // Waiting for a person is no silence: the host is told how long it may take (failure 4).
    expect((await world.written()).container?.tools).toMatchObject([
      { name: 'ask_user_question', timeoutMs: 1_800_000 },
    ]);
    await world.pass(5_000);
    const answer = world.say('tea', { inReplyTo: question?.id ?? '' });
    await world.until(() => world.isEnded(id));
    expect((await world.texts()).at(-1)).toBe('You chose: Ada: tea');
    expect(await world.acks()).toEqual([`${id} completed`, `${answer} completed`]);
  });

  it('takes a click that the host reports', async () => {
    const id = world.say('ask me');
    world.run(scriptedProvider(async (turn) => `You chose: ${await ask(turn)}`));
    await world.until(() => world.sentCount() === 1);
    const [question] = await world.messages();
    world.enqueue({
      kind: 'system',
      inReplyTo: question?.id ?? '',
      content: { action: 'ask_question', status: 'ok', result: 'coffee' },
    });
    await world.until(() => world.isEnded(id));
    expect((await world.texts()).at(-1)).toBe('You chose: coffee');
  });

  it('that nobody answers in time is over, and a late answer is a message of its own (failure 32)', async () => {
    const id = world.say('ask me');
    const prompts: string[] = [];
    world.run(
      scriptedProvider(async (turn) => {
        prompts.push(turn.prompt.text);
        return prompts.length === 1 ? ask(turn) : 'noted';
      }),
    );
    await world.until(() => world.isEnded(id), 15_000);
    expect((await world.texts()).at(-1)).toMatch(/^Nobody answered within 10 s/);
    const question = (await world.messages())[0]?.id ?? '';
    const late = world.say('tea', { inReplyTo: question });
    await world.until(() => world.isEnded(late));
    expect(prompts[1]).toContain(`answers="${question}"`);
    await world.sweep();
    expect(world.host.dueCount(world.clock.now())).toBe(0);
  });
});

function nested(levels: number): JsonObject {
  let value: JsonObject = {};
  for (let i = 0; i < levels; i++) value = { value };
  return value;
}
