import { fstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { scriptedProvider } from '../../providers/src/scripted/scripted.ts';
import { tool as declared } from '../src/tools/tool.ts';
import { PLACE, World } from './support.ts';

const LONG = 'x'.repeat(100_001);

let world: World;

beforeEach(() => {
  world = new World();
  world.host.setRouting(
    {
      destinations: [
        { name: 'team', displayName: 'The team', type: 'channel', channelType: 'terminal', platformId: 'team' },
        { name: 'helper', displayName: 'Helper', type: 'agent', agentGroupId: 'g2' },
      ],
      replyTo: PLACE,
    },
    world.clock.now(),
  );
});

afterEach(async () => {
  await world.close();
});

/** Has a model call one tool; gives what the tool said, or its error, and lets `meanwhile` act as the host. */
async function call(name: string, input: Record<string, unknown>, meanwhile?: () => Promise<void>): Promise<string> {
  let answer: string | undefined;
  const id = world.say('go');
  world.run(
    scriptedProvider(async (turn) => {
      answer = await turn
        .call(name, input)
        .catch((error: unknown) => `Error: ${error instanceof Error ? error.message : ''}`);
      return null;
    }),
  );
  if (meanwhile) {
    await world.until(() => world.sentCount() > 0);
    await meanwhile();
  }
  await world.until(() => world.isEnded(id));
  if (answer === undefined) throw new Error('the tool did not answer');
  return answer;
}

/** What the turn wrote before it ended. */
async function written(): Promise<unknown[]> {
  return (await world.messages()).filter(
    (one) => !('text' in one.content && String(one.content['text']).startsWith('The agent has read')),
  );
}

async function answerRequest(
  content: { status: 'ok'; result: string } | { status: 'error'; error: string },
): Promise<void> {
  const request = (await world.messages())[0];
  world.enqueue({
    kind: 'system',
    inReplyTo: request?.id ?? '',
    content: { action: String(request?.content['action']), ...content },
  });
}

describe('send_message', () => {
  it('sends to where the turn came from, or to a named place, and gives the number', async () => {
    expect(await call('send_message', { text: 'hi' })).toBe('Sent as message 3.');
    expect(await written()).toMatchObject([{ seq: 3, address: PLACE, inReplyTo: 'm1', content: { text: 'hi' } }]);
  });

  it('reaches another agent by its name', async () => {
    await call('send_message', { text: 'hi', to: 'helper' });
    expect((await world.messages())[0]?.address).toEqual({ channelType: 'agent', platformId: 'g2', threadId: null });
  });

  it('names the places there are when there is no such one, and sends nothing', async () => {
    expect(await call('send_message', { text: 'hi', to: 'nobody' })).toBe(
      'Error: There is no place named "nobody", so nothing was sent. Places that may be written to from here: helper, team.',
    );
    expect(await written()).toEqual([]);
  });
});

describe('every tool', () => {
  it('gives the model well-formed text, whatever half of a character is in an answer (failure 80)', async () => {
    const asks = declared({ name: 'ask', description: 'Asks.', fields: [], call: async () => 'Ada: a\ud83d' });
    expect(await asks.call({})).toBe('Ada: a\ufffd');
  });

  it.each([
    ['send_message', {}, 'text must be a text.'],
    ['send_message', { text: '  ' }, 'text must be a text.'],
    ['send_message', { text: 'x', colour: 'red' }, 'send_message has no argument "colour"; it has text, to.'],
    ['send_message', { text: LONG }, 'text has 100001 characters and may have 100000.'],
    [
      'edit_message',
      { messageId: 1.5, text: 'x' },
      `messageId must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}.`,
    ],
    ['edit_message', { messageId: 2, text: 'x' }, 'Message 2 is not yours, so it cannot be edited.'],
    ['edit_message', { messageId: 77, text: 'x' }, 'There is no message 77 in this conversation.'],
    ['add_reaction', { messageId: 78, emoji: '👍' }, 'There is no message 78 in this conversation.'],
    ['send_card', { card: [] }, 'card must be a JSON object of at most 24 levels.'],
    [
      'ask_user_question',
      { title: 'T', question: 'Q', options: ['Yes', 'yes '] },
      'The choices "Yes" and "yes " read alike.',
    ],
    [
      'create_agent',
      { name: 'turned \u202eround' },
      '"turned \\u202eround" is not the name of an agent: such a name has 1 to 100 characters on one line, without blanks around them and without marks that cannot be seen.',
    ],
    [
      'send_card',
      { card: { rows: [{ id: 9_007_199_254_740_992 }] } },
      'card has a number beyond 9007199254740991, which may have been another: write it as a text.',
    ],
    ['ask_user_question', { title: 't', question: 'q', options: ['one'] }, 'options must be a list of 2 to 10 texts.'],
    [
      'schedule_task',
      { prompt: 'p', processAfter: 'soon' },
      '"soon" is no time. ISO 8601, as 2026-11-21T15:00:00 in the time zone of the task, or with Z or an offset.',
    ],
    [
      'schedule_task',
      { prompt: 'p', processAfter: '2026-11-22T10:00', timeZone: 'Mars/X' },
      'There is no time zone "Mars/X"; give an IANA name.',
    ],
    [
      'schedule_task',
      { prompt: 'p', processAfter: '2026-11-22T10:00', catchUp: 'some' },
      'catchUp must be one of skip, latest, all.',
    ],
    ['update_task', { taskId: 't1' }, 'update_task needs something to change.'],
    ['schedule_task', { prompt: 'p' }, 'schedule_task needs processAfter, recurrence or both.'],
    ['install_packages', { reason: 'r' }, 'install_packages needs a name in apt or npm.'],
    [
      'install_packages',
      { reason: 'r', apt: ['curl; rm -rf /'] },
      'apt has an entry that is not allowed: "curl; rm -rf /".',
    ],
    ['install_packages', { reason: 'r', npm: ['--global'] }, 'npm has an entry that is not allowed: "--global".'],
    [
      'add_mcp_server',
      { reason: 'r', name: 'nanoclaw', command: 'x' },
      '"nanoclaw" cannot be the name of an MCP server: that is the runner\'s own.',
    ],
    [
      'add_mcp_server',
      { reason: 'r', name: 'A b', command: 'x' },
      'name must be of the form ^[a-z0-9][a-z0-9-]{0,39}$.',
    ],
    ['send_file', { path: 'nowhere.txt' }, undefined],
    ['send_file', { path: '.', filename: 'x' }, '. is not a plain file, and only files can be sent.'],
  ])('%s refuses what does not fit with one sentence and does nothing (%#)', async (name, input, sentence) => {
    const answer = await call(name, input);
    if (sentence === undefined) expect(answer).toMatch(/^Error: The file nowhere.txt cannot be read: ENOENT/);
    else expect(answer).toBe(`Error: ${sentence}`);
    expect(await written()).toEqual([]);
  });

  it('has a schema with a description for each argument', async () => {
    let tools: readonly { name: string; description: string; inputSchema: Readonly<Record<string, unknown>> }[] = [];
    const id = world.say('go');
    world.run(
      scriptedProvider((turn) => {
        tools = turn.options.tools;
        return 'ok';
      }),
    );
    await world.until(() => world.isEnded(id));
    expect(tools.map((tool) => tool.name)).toEqual([
      'send_message',
      'send_file',
      'edit_message',
      'add_reaction',
      'send_card',
      'ask_user_question',
      'schedule_task',
      'list_tasks',
      'update_task',
      'cancel_task',
      'pause_task',
      'resume_task',
      'create_agent',
      'install_packages',
      'add_mcp_server',
    ]);
    for (const tool of tools) {
      expect(tool.description).toMatch(/\.$/);
      expect(tool.inputSchema).toMatchObject({ type: 'object', additionalProperties: false });
      for (const field of Object.values(Object(tool.inputSchema['properties']))) {
        expect(JSON.stringify(field)).toMatch(/^\{"type":"\w+","description":"[^"]/);
      }
    }
  });
});

describe('what is internal', () => {
  const hidden = 'a<internal>SECRET</internal>b `<internal>`';
  const exits: readonly (readonly [tool: string, input: Record<string, unknown>])[] = [
    ['send_message', { text: hidden }],
    ['send_file', { path: 'a.txt', text: hidden }],
    ['edit_message', { messageId: 3, text: hidden }],
    ['send_card', { card: { body: [{ text: hidden }] }, fallbackText: hidden }],
    ['ask_user_question', { title: hidden, question: hidden, options: [hidden, 'x'], timeout: 1 }],
    ['install_packages', { npm: ['left-pad'], reason: hidden }],
    ['add_mcp_server', { name: 'x', command: 'y', reason: hidden }],
  ];

  it.each(exits)('leaves through no text of %s, and a mention of the marker in code stays', async (name, input) => {
    writeFileSync(join(world.agentFolder, 'a.txt'), 'content');
    const id = world.say('go');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'first' });
        await turn.call(name, input);
        return null;
      }),
    );
    await world.until(() => world.isEnded(id), 120_000);
    const content = JSON.stringify((await world.messages())[1]?.content);
    expect([content.includes('SECRET'), content.includes('`<internal>`')]).toEqual([false, true]);
  });

  it('sends nothing when nothing else is left of a text, and says so', async () => {
    const said = await call('send_message', { text: '<internal>only this</internal>' });
    expect(said).toBe('Error: All of text is internal, so nothing was sent. Give what people may read.');
    expect(await written()).toEqual([]);
  });
});

describe('send_file', () => {
  it('puts a copy beside the row that names it, under a name of its own choice', async () => {
    mkdirSync(join(world.agentFolder, 'out'));
    writeFileSync(join(world.agentFolder, 'out', 'a.txt'), 'content');
    expect(await call('send_file', { path: 'out/a.txt', text: 'here', filename: 'b.txt' })).toBe(
      'Sent b.txt as message 3.',
    );
    const [row] = await world.messages();
    expect(row?.content).toEqual({ text: 'here', files: ['b.txt'] });
    expect(readFileSync(join(world.folder.outbound.files, row?.id ?? '', 'b.txt'), 'utf8')).toBe('content');
  });

  it('has the copy and the way to it on disk before the row that names it, so that a power cut loses no file', async () => {
    const synced: { inode: number; sent: number }[] = [];
    const sync = await spiedSync();
    sync.mockImplementation(async function (this: FileHandle) {
      synced.push({ inode: fstatSync(this.fd).ino, sent: world.sentCount() });
    });
    writeFileSync(join(world.agentFolder, 'a.txt'), 'content');
    await call('send_file', { path: 'a.txt' });
    sync.mockRestore();
    const [row] = await world.messages();
    const { root, files } = world.folder.outbound;
    const copy = join(files, row?.id ?? '', 'a.txt');
    const wanted = [copy, dirname(copy), files, root];
    expect(synced).toEqual(wanted.map((path) => ({ inode: statSync(path).ino, sent: 0 })));
  });

  it('refuses a name that is more than a name', async () => {
    writeFileSync(join(world.agentFolder, 'a.txt'), 'content');
    expect(await call('send_file', { path: 'a.txt', filename: '../../up' })).toMatch(
      /cannot be the name of a sent file/,
    );
    expect(await written()).toEqual([]);
  });
});

/** `sync` of every handle that `node:fs/promises` opens; their class is not exported. */
async function spiedSync() {
  await using handle = await open(world.agentFolder, 'r');
  const prototype: FileHandle = Object.getPrototypeOf(handle);
  return vi.spyOn(prototype, 'sync');
}

describe('changes to earlier messages', () => {
  it('go where the message went, by its number', async () => {
    const id = world.say('go');
    world.run(
      scriptedProvider(async (turn) => {
        await turn.call('send_message', { text: 'draft', to: 'team' });
        await turn.call('edit_message', { messageId: 3, text: 'final' });
        await turn.call('add_reaction', { messageId: 2, emoji: 'eyes' });
        return null;
      }),
    );
    await world.until(() => world.isEnded(id));
    const rows = (await world.messages()).map(({ address, content }) => [address?.platformId, content]);
    expect(rows).toEqual([
      ['team', { text: 'draft' }],
      ['team', { operation: 'edit', messageId: 3, text: 'final' }],
      ['main', { operation: 'reaction', messageId: 2, emoji: 'eyes' }],
    ]);
  });
});

describe('send_card', () => {
  it('carries the card and its fallback', async () => {
    await call('send_card', { card: { title: 'T' }, fallbackText: 'T' });
    expect((await world.messages())[0]?.content).toEqual({
      operation: 'card',
      card: { title: 'T' },
      fallbackText: 'T',
    });
  });
});

describe('requests to the host', () => {
  it('carry their parameters, with times as milliseconds in the zone of the task, and give the host’s answer', async () => {
    const answer = await call(
      'schedule_task',
      {
        prompt: 'stretch',
        processAfter: '2026-11-22T09:00:00',
        timeZone: 'Europe/Berlin',
        recurrence: '0 9 * * *',
        overlap: 'skip',
      },
      () => answerRequest({ status: 'ok', result: 'Scheduled as s1.' }),
    );
    expect(answer).toBe('Scheduled as s1.');
    expect((await world.messages())[0]).toMatchObject({
      kind: 'system',
      inReplyTo: 'm1',
      content: {
        action: 'schedule_task',
        prompt: 'stretch',
        processAfter: Date.UTC(2026, 10, 22, 8, 0),
        timeZone: 'Europe/Berlin',
        recurrence: '0 9 * * *',
        overlap: 'skip',
      },
    });
    expect((await world.acks()).toSorted()).toEqual(['m1 completed', 'm2 completed']);
  });

  it('show a refusal to the model as an error', async () => {
    const answer = await call('cancel_task', { taskId: 's9' }, () =>
      answerRequest({ status: 'error', error: 'There is no task s9.' }),
    );
    expect(answer).toBe('Error: The host did not do it: There is no task s9.');
  });

  it('that the host has not answered after a while are told of later, as a message', async () => {
    expect(await call('create_agent', { name: 'helper' })).toBe(
      'Asked for, as request 3. What comes of it will be told by a message of its own.',
    );
  });

  it.each([
    ['update_task', { taskId: 's1', prompt: 'new' }, { taskId: 's1', prompt: 'new' }],
    ['pause_task', { taskId: 's1' }, { taskId: 's1' }],
    ['resume_task', { taskId: 's1' }, { taskId: 's1' }],
    ['create_agent', { name: 'helper', instructions: 'help' }, { name: 'helper', instructions: 'help' }],
    ['install_packages', { npm: ['@scope/name'], reason: 'r' }, { apt: [], npm: ['@scope/name'], reason: 'r' }],
    [
      'add_mcp_server',
      { name: 'files', command: 'srv', reason: 'r' },
      { name: 'files', command: 'srv', args: [], reason: 'r' },
    ],
  ])('%s is a system row of its name', async (name, input, parameters) => {
    await call(name, input, () => answerRequest({ status: 'ok', result: 'done' }));
    expect((await world.messages())[0]).toMatchObject({ kind: 'system', content: { action: name, ...parameters } });
  });
});

describe('list_tasks', () => {
  it('shows what is yet to happen, in the conversation’s zone', async () => {
    const now = world.clock.now();
    const series = {
      status: 'active' as const,
      reason: null,
      recurrence: null,
      address: PLACE,
      catchUp: { type: 'latest' as const },
      overlap: 'skip' as const,
      jitterMs: 0,
      startAt: now,
      endAt: null,
      countMax: null,
      pauseAfter: null,
      owed: [],
      fired: 0,
      failures: 0,
      createdAt: now,
      updatedAt: now,
    };
    const recurrence = { cron: '* * * * *', timeZone: 'Europe/Berlin' };
    world.host.series.edit(now, (edit) => {
      edit.put({ ...series, id: 't1', content: { prompt: 'stretch\nwell' }, nextSlot: now + 3_600_000 });
      edit.put({ ...series, id: 't2', content: { prompt: 'say hi' }, recurrence, nextSlot: now + 60_000, failures: 2 });
      edit.put({
        ...series,
        id: 't3',
        content: { prompt: 'x' },
        status: 'paused',
        reason: 'It was paused.',
        nextSlot: null,
      });
      edit.put({ ...series, id: 't4', content: { prompt: 'over' }, status: 'ended', nextSlot: null });
    });
    expect(await call('list_tasks', {})).toBe(
      [
        't3: paused (It was paused.), once, no time set: x',
        't2: active, every * * * * * (Europe/Berlin), next 2026-11-21 09:01 Sat, the last 2 failed: say hi',
        't1: active, once, next 2026-11-21 10:00 Sat: stretch well',
      ].join('\n'),
    );
  });

  it('says so when there are none', async () => {
    expect(await call('list_tasks', {})).toBe('There are no tasks.');
  });
});
