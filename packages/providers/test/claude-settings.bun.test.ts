/**
 * What the `claude` provider is set up with, as the model sees it: model and effort, servers, skills, notes; and what is
 * kept of a conversation before it is compacted.
 */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { McpServer, Skill } from '@nanoclaw/runner';
import { providerConformance } from '@nanoclaw/runner/conformance';
import { ClaudeHome, command, ends, eventsOf, recordingExecutable, says, TURN_MAX_MS, tokenOf } from './claude-home.ts';
import {
  type FakeReply,
  type FakeRequest,
  type FakeRules,
  inOrder,
  textsOf,
  toolNamesOf,
} from './fake-messages-api.ts';

let claude: ClaudeHome;

beforeEach(() => {
  claude = new ClaudeHome();
});

afterEach(async () => {
  expect(await claude.close()).toEqual([]);
});

/** A skill in a folder of skills, as the host shows it. */
function skill(name: string, description: string): Skill {
  const folder = join(claude.home, 'skills', name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'SKILL.md'),
    `---\nname: ${name}\ndescription: ${description}\n---\nHow to do it: gently.\n`,
  );
  return { name, folder };
}

const SERVER: McpServer = {
  type: 'stdio',
  command: process.execPath,
  args: [join(import.meta.dir, 'fake-mcp-server.ts')],
  env: { GREETING: 'Good morning' },
};

const text = (said: string): FakeReply => ({ type: 'text', text: said });

describe('the model', () => {
  test(
    'is asked as the configuration says, with the effort it says',
    async () => {
      await eventsOf(
        await claude.startTurn(inOrder(text('Hi.')), 'Hello.', { model: 'claude-haiku-4-5', effort: 'low' }),
      );
      expect(claude.request(0).body['model']).toBe('claude-haiku-4-5');

      await eventsOf(
        await claude.startTurn(inOrder(text('Hi.')), 'Hello.', { model: 'claude-opus-5-5', effort: 'low' }),
      );
      expect(claude.request(0).body['output_config']).toMatchObject({ effort: 'low' });

      await eventsOf(
        await claude.startTurn(inOrder(text('Hi.')), 'Hello.', { model: 'claude-opus-5-5', effort: 'max' }),
      );
      expect(claude.request(0).body['output_config']).toMatchObject({ effort: 'max' });
    },
    TURN_MAX_MS,
  );

  test(
    'is offered the tools of an extra MCP server in its first request, beside ours, and can use them',
    async () => {
      const rules = inOrder({ type: 'tool', name: 'mcp__greeter__greet', input: { name: 'Ada' } }, text('Done.'));
      const tools = [
        { name: 'note', description: 'Notes.', inputSchema: { type: 'object' }, timeoutMs: undefined, call },
      ];
      const events = await eventsOf(
        await claude.startTurn(rules, 'Greet.', { mcpServers: { greeter: SERVER }, tools }),
      );

      expect(toolNamesOf(claude.request(0))).toEqual(
        expect.arrayContaining(['mcp__greeter__greet', 'mcp__nanoclaw__note']),
      );
      expect(textsOf(claude.request(1))).toContain('Good morning, Ada!');
      expect(ends(events)).toMatchObject([{ type: 'result', text: 'Done.' }]);
      expect(claude.reports).toEqual([]);
    },
    TURN_MAX_MS,
  );

  test(
    'answers without a server that does not come up, which is reported',
    async () => {
      const keys: (string | null)[] = [];
      using remote = Bun.serve({
        port: 0,
        fetch: (request) => {
          keys.push(request.headers.get('x-key'));
          return new Response('out of order', { status: 500 });
        },
      });
      const mcpServers: Record<string, McpServer> = {
        gone: { type: 'stdio', command: '/nowhere/server', args: [], env: {} },
        stuck: { type: 'stdio', command: 'sleep', args: ['600'], env: {} },
        away: { type: 'http', url: `${remote.url}mcp`, headers: { 'x-key': 'abc' } },
      };
      await claude.serve(inOrder(text('Still here.')));
      // A tenth of the time that the provider gives a server to come up.
      const program = recordingExecutable(claude.home, 'MCP_TIMEOUT=$((MCP_TIMEOUT / 10))');
      const options = { ...claude.startOptions(), mcpServers };
      const events = await eventsOf(claude.provider(program).start(says('Hello.'), options));

      expect(ends(events)).toMatchObject([{ type: 'result', text: 'Still here.' }]);
      expect(claude.reports.toSorted()).toEqual([
        expect.stringContaining('MCP server away could not be reached'),
        expect.stringContaining('MCP server gone could not be reached'),
        expect.stringContaining('MCP server stuck could not be reached'),
      ]);
      expect(keys).toContain('abc');
    },
    TURN_MAX_MS,
  );

  test(
    'is told of the skills it is given and of no other, and reads one when it wants to',
    async () => {
      const skills = [skill('baking', 'Bakes bread.')];
      skill('sewing', 'Sews shirts.');
      const rules = inOrder({ type: 'tool', name: 'Skill', input: { skill: 'baking' } }, text('Baked.'));
      await eventsOf(await claude.startTurn(rules, 'Bake.', { skills }));

      const asked = JSON.stringify(claude.request(0).body['messages']);
      expect(asked).toContain('- baking:baking: Bakes bread.');
      expect(asked).not.toContain('Sews shirts.');
      // One of the program's own.
      expect(asked).not.toContain('dataviz');
      expect(textsOf(claude.request(1)).join('\n')).toContain('How to do it: gently.');
    },
    TURN_MAX_MS,
  );
});

describe('the agent’s own folder', () => {
  test(
    'adds its CLAUDE.md to the instructions, as it is at each turn',
    async () => {
      await eventsOf(await claude.startTurn(() => text('Hi.'), 'Hello.'));
      expect(systemOf(claude.request(0))).not.toContain('<notes');

      writeFileSync(join(claude.cwd, 'CLAUDE.md'), 'Ada likes tea.');
      await eventsOf(claude.nextTurn('Hello.'));
      expect(systemOf(claude.request(1))).toMatch(
        /You are Andy\.[\s\S]*<notes file=\\"CLAUDE.md\\">\\nAda likes tea\./,
      );

      writeFileSync(join(claude.cwd, 'CLAUDE.md'), 'x'.repeat(70_000));
      await eventsOf(claude.nextTurn('Hello.'));
      expect(systemOf(claude.request(2))).toMatch(/x{65536}\\n\(Cut here/);
    },
    TURN_MAX_MS,
  );

  test(
    'adds no settings, hooks, servers or skills',
    async () => {
      const settings = join(claude.cwd, '.claude');
      mkdirSync(join(settings, 'skills', 'own'), { recursive: true });
      writeFileSync(join(settings, 'skills', 'own', 'SKILL.md'), '---\nname: own\ndescription: Own skill.\n---\n');
      const hook = { hooks: [{ type: 'command', command: `touch ${join(claude.home, 'hooked')}` }] };
      writeFileSync(
        join(settings, 'settings.json'),
        JSON.stringify({ hooks: { UserPromptSubmit: [hook], Stop: [hook] } }),
      );
      const { command: program, args } = SERVER.type === 'stdio' ? SERVER : { command: '', args: [] };
      writeFileSync(
        join(claude.cwd, '.mcp.json'),
        JSON.stringify({ mcpServers: { greeter: { command: program, args } } }),
      );
      await eventsOf(await claude.startTurn(inOrder(text('Hi.')), 'Hello.'));

      expect(JSON.stringify(claude.request(0).body)).not.toContain('Own skill.');
      expect(toolNamesOf(claude.request(0))).not.toContain('mcp__greeter__greet');
      expect(readdirSync(claude.home)).not.toContain('hooked');
    },
    TURN_MAX_MS,
  );
});

describe('a conversation that is compacted', () => {
  test(
    'is written down first, answers the command once, and goes on',
    async () => {
      await claude.serve((request, index) =>
        isCompaction(request) ? text('<summary>A summary.</summary>') : text(`Answer ${index}.`),
      );
      const asked = '<now time-zone="UTC">Saturday</now>\n<message number="2" from="Ada">Where is the oak?</message>';
      const first = await eventsOf(claude.nextTurn(asked));
      const continuation = tokenOf(first);
      await eventsOf(claude.nextTurn('And the treasure?', { continuation }));
      const compacted = await eventsOf(claude.nextTurn(command('/compact'), { continuation }));

      expect(ends(compacted)).toMatchObject([
        { type: 'result', text: expect.stringMatching(/^The conversation is compacted/) },
      ]);
      const folder = join(claude.cwd, 'conversations');
      const [name = '', ...more] = readdirSync(folder);
      expect(more).toEqual([]);
      expect(name).toMatch(new RegExp(`^\\d{4}-\\d\\d-\\d\\d-where-is-the-oak-${continuation.slice(0, 8)}\\.md$`));
      const written = readFileSync(join(folder, name), 'utf8');
      expect(written).toStartWith('# Where is the oak?\n');
      const order = ['Where is the oak?', 'Answer 0.', 'And the treasure?', 'Answer 1.'].map((one) =>
        written.lastIndexOf(one),
      );
      expect(order).toEqual(order.toSorted((a, b) => a - b));
      expect(order).not.toContain(-1);
      expect(claude.reports).toEqual([]);

      const next = await eventsOf(claude.nextTurn('Still there?', { continuation: tokenOf(compacted) }));
      expect(next.at(-1)).toMatchObject({ type: 'result', text: expect.stringMatching(/^Answer/) });
    },
    TURN_MAX_MS,
  );

  test(
    'in the middle of a turn, by itself, is no result of its own (failure 7)',
    async () => {
      const rules = inOrder(
        { type: 'tool', name: 'Bash', input: { command: 'echo one' }, inputTokens: 990_000 },
        text('<summary>A summary.</summary>'),
        text('Done.'),
      );
      const events = await eventsOf(await claude.startTurn(rules, 'Count.', { model: 'claude-opus-5-5' }));

      expect(claude.requests.map(isCompaction)).toEqual([false, true, false]);
      expect(ends(events)).toMatchObject([{ type: 'result', text: 'Done.' }]);
      expect(readdirSync(join(claude.cwd, 'conversations'))).toHaveLength(1);
    },
    TURN_MAX_MS,
  );

  test(
    'is compacted all the same when it cannot be written down, which is reported',
    async () => {
      symlinkSync('/proc/nowhere', join(claude.cwd, 'conversations'));
      await claude.serve((request, index) =>
        isCompaction(request) ? text('<summary>A summary.</summary>') : text(`Answer ${index}.`),
      );
      const continuation = tokenOf(await eventsOf(claude.nextTurn('Hello.')));
      const compacted = await eventsOf(claude.nextTurn(command('/compact'), { continuation }));

      expect(compacted.at(-1)).toMatchObject({ type: 'result' });
      expect(claude.requests.filter(isCompaction)).toHaveLength(1);
      expect(claude.reports).toEqual([expect.stringContaining('without having been written down')]);
    },
    TURN_MAX_MS,
  );
});

describe('the claude provider', () => {
  const cases = providerConformance(async () => {
    await claude.serve(conforming);
    return {
      provider: claude.provider(),
      cwd: claude.cwd,
      prompts: {
        answer: says('answer'),
        work: says('work without end'),
        workBriefly: says('work for a moment'),
        fail: says('fail'),
        useTool: says('tell them'),
        refused: says('use a wrong key'),
        unavailable: says('come too often'),
      },
      close: async () => undefined,
    };
  });
  for (const { name, run } of cases) test(name, run, TURN_MAX_MS);
});

/** A model that behaves as each prompt of the provider suite asks. */
const conforming: FakeRules = async (request) => {
  const said = textsOf(request).join('\n');
  if (said.includes('Sent as message 1.') || said.includes('There is no such place.')) return text('Told them.');
  if (said.includes('tell them')) return { type: 'tool', name: 'mcp__nanoclaw__send_message', input: { text: 'hi' } };
  if (said.includes('fail')) return { type: 'status', status: 400, message: 'no' };
  if (said.includes('use a wrong key')) return { type: 'status', status: 403, message: 'no' };
  if (said.includes('come too often')) return { type: 'status', status: 429, message: 'no', retryAfterSeconds: 600 };
  if (said.includes('work without end')) return { type: 'hang' };
  if (said.includes('work for a moment')) await Bun.sleep(300);
  return text('Here you are.');
};

async function call(): Promise<string> {
  return 'noted';
}

function systemOf(request: FakeRequest): string {
  return JSON.stringify(request.body['system']);
}

/** The request by which the program asks for a summary of the conversation. */
function isCompaction(request: FakeRequest): boolean {
  return textsOf(request).some((said) => said.startsWith('CRITICAL: Respond with TEXT ONLY'));
}
