/**
 * The whole program with the `claude` provider, the SDK's real program and a fake of the model's API: whatever the API
 * does, each message ends in the right ack, and the person gets an answer or a notice, once.
 */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { INBOUND_RETRY, isBusy, type OutboundContents } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/bun';
import { isAlive, recordingExecutable, startedPids } from '../../../packages/providers/test/claude-home.ts';
import {
  type FakeMessagesApi,
  type FakeReply,
  type FakeRules,
  inOrder,
  startFakeMessagesApi,
  textsOf,
  toolNamesOf,
} from '../../../packages/providers/test/fake-messages-api.ts';
import { CONFIG, type Program, SessionHost, TEST_MAX_MS, texts } from './session-host.ts';

let session: SessionHost;
let api: FakeMessagesApi | undefined;

beforeEach(() => {
  session = new SessionHost();
});

afterEach(async () => {
  // A program whose runner was killed would go on until its API answers: what a container's end does is done here.
  for (const pid of startedPids(session.root).filter(isAlive)) process.kill(pid, 'SIGKILL');
  await session.close();
  await api?.stop();
  api = undefined;
});

async function start(
  rules: FakeRules,
  run = 'run-1',
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Program> {
  api ??= await startFakeMessagesApi(rules);
  const config = {
    ...CONFIG,
    ...settings,
    provider: { name: 'claude', options: { executable: recordingExecutable(session.root) } },
  };
  return session.start(config, run, { ANTHROPIC_API_KEY: 'no-key-is-needed', ANTHROPIC_BASE_URL: api.url });
}

const ended =
  (count: number) =>
  (seen: OutboundContents): boolean =>
    seen.acks.length === count;

const text = (said: string): FakeReply => ({ type: 'text', text: said });

/** Refuses, without the model's answer, as long as `isDown` says so. */
function flaky(trouble: FakeReply, isDown: () => boolean): FakeRules {
  return () => (isDown() ? trouble : text('Hello again.'));
}

describe('a person gets one answer', () => {
  test(
    'from a turn with text, and the next turn goes on with the conversation, also after a kill',
    async () => {
      session.say('My name is Ada.');
      const first = await start(inOrder(text('Hello, Ada.'), text('You are Ada.')));
      await session.until(ended(1));
      await session.buried(first);
      session.say('Who am I?');
      await start(() => text('unused'), 'run-2');
      const seen = await session.until(ended(2));
      expect(texts(seen)).toEqual(['Hello, Ada.', 'You are Ada.']);
      const second = api?.requests[1];
      expect(second && textsOf(second).join('\n')).toContain('Hello, Ada.');
    },
    TEST_MAX_MS,
  );

  test(
    'when the run is killed while its API hangs: the next run goes on with the conversation and answers',
    async () => {
      session.say('My name is Ada.');
      const hung = Promise.withResolvers<void>();
      const first = await start((_request, index) => {
        if (index === 0) return text('Hello, Ada.');
        if (index > 1) return text('You are Ada.');
        hung.resolve();
        return { type: 'hang' };
      });
      await session.until(ended(1));
      const id = session.say('Who am I?');
      await hung.promise;
      await session.buried(first);
      expect(session.host.message(id)).toMatchObject({ status: 'pending', tries: 1 });
      await start(() => text('unused'), 'run-2');
      const seen = await session.until(ended(2));
      expect(texts(seen)).toEqual(['Hello, Ada.', 'You are Ada.']);
      expect(seen.acks.at(-1)).toMatchObject({ messageId: id, attempt: 2, status: 'completed', runId: 'run-2' });
      const last = api?.requests.at(-1);
      expect(last && textsOf(last).join('\n')).toContain('Hello, Ada.');
    },
    TEST_MAX_MS,
  );

  test(
    'from a turn that says it by our tool, and not again by its final text',
    async () => {
      session.say('hello');
      await start(
        inOrder({ type: 'tool', name: 'mcp__nanoclaw__send_message', input: { text: 'By tool.' } }, text('By tool.')),
      );
      const seen = await session.until(ended(1));
      expect(texts(seen)).toEqual(['By tool.']);
      expect(seen.messages[0]?.inReplyTo).toBe('m1');
      expect(seen.acks).toMatchObject([{ status: 'completed' }]);
    },
    TEST_MAX_MS,
  );

  test(
    'to a message and its follow-up, both acknowledged at the end',
    async () => {
      let followUp: string | undefined;
      session.say('first question');
      await start(async (request, index) => {
        followUp ??= session.say('second question');
        // The answer is held back until the runner has taken the follow-up.
        if (index === 0) await session.until((seen) => seen.openClaims.length === 2);
        const both = textsOf(request).join('\n').includes('second question');
        return text(both ? 'second answer' : 'first answer');
      });
      const seen = await session.until(ended(2));
      expect(texts(seen).join('\n\n')).toBe('first answer\n\nsecond answer');
      expect(new Set(seen.acks.map((ack) => ack.statusChanged)).size).toBe(1);
    },
    TEST_MAX_MS,
  );

  test.each<[string, FakeReply]>([
    ['429', { type: 'status', status: 429, message: 'slow down' }],
    ['500', { type: 'status', status: 500, message: 'broken' }],
    ['closes in mid-stream', { type: 'cut', text: 'Hel' }],
  ])(
    'from an API that first answers %s: the attempt is deferred with a reason and says nothing, the next one answers',
    async (_name, trouble) => {
      let isDown = true;
      const id = session.say('hello');
      await start(flaky(trouble, () => isDown));
      const deferred = await session.until(ended(1));
      expect(deferred.acks).toMatchObject([
        { status: 'deferred', kind: 'unavailable', error: expect.stringMatching(/./) },
      ]);
      expect(deferred.messages).toEqual([]);
      isDown = false;
      await session.sweep();
      expect(session.host.message(id)).toMatchObject({ status: 'pending', tries: 1, triesBefore: 1 });
      const seen = await session.until(ended(2));
      expect(seen.acks[1]).toMatchObject({ attempt: 2, status: 'completed' });
      expect(texts(seen)).toEqual(['Hello again.']);
    },
    TEST_MAX_MS,
  );

  test(
    'from an API that is away for longer than all tries of a message, and then answers',
    async () => {
      let isDown = true;
      const id = session.say('hello');
      await start(flaky({ type: 'status', status: 429, message: 'no', retryAfterSeconds: 600 }, () => isDown));
      for (let attempt = 1; attempt <= INBOUND_RETRY.triesMax + 1; attempt++) {
        await session.until(ended(attempt));
        isDown = attempt <= INBOUND_RETRY.triesMax;
        await session.sweep();
      }
      const seen = await session.until(ended(INBOUND_RETRY.triesMax + 2));
      expect(texts(seen)).toEqual(['Hello again.']);
      await session.sweep();
      expect(session.host.message(id)).toMatchObject({ status: 'completed' });
      expect(session.host.deadLetters.count()).toBe(0);
    },
    TEST_MAX_MS,
  );

  test(
    'once the key is good: with a wrong one its API is asked three times and no more, and the chat is owed one notice',
    async () => {
      let isWrong = true;
      const id = session.say('hello');
      await start(flaky({ type: 'status', status: 401, message: 'invalid x-api-key' }, () => isWrong));
      await session.until(ended(1));
      await session.sweep('as it is');
      expect(session.host.deferrals.get()).toMatchObject({ kind: 'refused', messages: 1 });
      const another = session.say('are you there?');
      await session.until(ended(3));
      await session.sweep('as it is');
      const asked = api?.requests.length ?? 0;
      expect(asked).toBeLessThanOrEqual(6);
      expect(session.host.notices.owed(10)).toMatchObject([{ type: 'deferred', kind: 'refused', messageId: id }]);
      await sleep(1_500);
      expect(api?.requests.length).toBe(asked);

      isWrong = false;
      session.host.deferrals.retryNow(Date.now());
      const seen = await session.until(ended(5));
      expect(texts(seen)).toEqual(['Hello again.']);
      await session.sweep('as it is');
      for (const each of [id, another]) expect(session.host.message(each)).toMatchObject({ status: 'completed' });
      expect(session.host.notices.owed(10)).toEqual([]);
    },
    TEST_MAX_MS,
  );

  test(
    'of /stop, from an API that hangs',
    async () => {
      session.say('hello');
      const asked = new Promise<void>((resolve) => {
        void start(() => {
          resolve();
          return { type: 'hang' };
        });
      });
      await asked;
      session.enqueue({ text: '/stop' }, { kind: 'command' });
      const seen = await session.until(ended(2));
      expect(texts(seen)).toEqual([expect.stringMatching(/^Stopped\./)]);
      expect(seen.acks.map((ack) => ack.status)).toEqual(['completed', 'completed']);
    },
    TEST_MAX_MS,
  );

  test(
    'after a notice, when the conversation that was to go on is gone',
    async () => {
      session.say('hello');
      const first = await start(inOrder(text('Hello.'), text('A new start.')));
      await session.until(ended(1));
      await session.buried(first);
      const db = openSqlite(session.folder.outbound.database, 'write');
      db.run(
        "UPDATE session_state SET value = '11111111-2222-3333-4444-555555555555' WHERE key = 'continuation:claude'",
      );
      db.close();
      session.say('and now?');
      await start(() => text('unused'), 'run-2');
      const seen = await session.until(ended(2));
      expect(texts(seen)).toEqual([
        'Hello.',
        expect.stringMatching(/^The earlier conversation could not be taken up again/),
        'A new start.',
      ]);
      expect(seen.acks.map((ack) => [ack.attempt, ack.status])).toEqual([
        [1, 'completed'],
        [1, 'completed'],
      ]);
    },
    TEST_MAX_MS,
  );
});

/** The rows of `turns`, as an operator reads them: again, while the run is just committing. */
async function turns(): Promise<unknown[]> {
  for (;;) {
    try {
      return turnRows();
    } catch (error) {
      if (!isBusy(error)) throw error;
      await sleep(5);
    }
  }
}

function turnRows(): unknown[] {
  const db = openSqlite(session.folder.outbound.database, 'write');
  try {
    return db.all(
      `SELECT run_id, outcome, reason, message_count, input_tokens, output_tokens, cache_read_tokens,
         cost_usd > 0 AS has_cost, ended_at >= started_at AS has_time FROM turns ORDER BY rowid`,
    );
  } finally {
    db.close();
  }
}

describe('a turn', () => {
  test(
    'leaves in `turns` what the API said it cost, also one that failed after a part of its work',
    async () => {
      session.say('first');
      const shell: FakeReply = { type: 'tool', name: 'Bash', input: { command: 'echo one' } };
      const replies = [shell, text('Done.'), shell];
      await start((_request, index) => replies[index] ?? { type: 'status', status: 500, message: 'out of order' });
      await session.until(ended(1));
      session.say('second');
      await session.until(ended(2));
      // Each answer of the fake costs 12 tokens of input, 2 of them from the cache, and 5 of output.
      const both = { run_id: 'run-1', message_count: 1, has_cost: 1, has_time: 1 };
      expect(await turns()).toEqual([
        { ...both, outcome: 'completed', reason: null, input_tokens: 24, output_tokens: 10, cache_read_tokens: 4 },
        {
          ...both,
          outcome: 'failed',
          reason: expect.stringContaining('out of order'),
          input_tokens: 12,
          output_tokens: 5,
          cache_read_tokens: 2,
        },
      ]);
    },
    TEST_MAX_MS,
  );

  test(
    'is asked of the model, with the effort, skills and servers that container.json names',
    async () => {
      session.addSkill('bake');
      session.addSkill('sew');
      session.say('hello');
      const program = join(import.meta.dir, '../../../packages/providers/test/fake-mcp-server.ts');
      await start(inOrder(text('Hello.')), 'run-1', {
        model: 'claude-opus-5-5',
        effort: 'low',
        skills: ['bake'],
        mcpServers: { greeter: { command: process.execPath, args: [program] } },
      });
      await session.until(ended(1));
      const [request] = api?.requests ?? [];
      expect(request?.body).toMatchObject({ model: 'claude-opus-5-5', output_config: { effort: 'low' } });
      expect(request && toolNamesOf(request)).toContain('mcp__greeter__greet');
      expect(JSON.stringify(request?.body)).toContain('- bake:bake: How to bake.');
      expect(JSON.stringify(request?.body)).not.toContain('How to sew.');
    },
    TEST_MAX_MS,
  );

  test(
    'that is /compact answers so, once, and keeps the conversation as a file of the agent’s',
    async () => {
      session.say('Where is the oak?');
      await start(inOrder(text('Behind the house.'), text('<summary>An oak.</summary>')));
      await session.until(ended(1));
      session.enqueue({ text: '/compact' }, { kind: 'command' });
      const seen = await session.until(ended(2));
      expect(texts(seen)).toEqual(['Behind the house.', expect.stringMatching(/^The conversation is compacted/)]);
      expect(seen.acks.map((ack) => ack.status)).toEqual(['completed', 'completed']);
      const [name = ''] = readdirSync(join(session.agentFolder, 'conversations'));
      expect(name).toContain('where-is-the-oak');
    },
    TEST_MAX_MS,
  );
});
