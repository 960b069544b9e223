import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install, startFakeApi, until } from './host-process.ts';

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

describe('one message all the way through', () => {
  it('prints the reply to --say and leaves with 0, and nothing stays behind', async () => {
    const { exitCode, stdout, stderr } = await install.run(['start', '--say', 'hello there']);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    expect(stdout).toContain('hello there');
    expect(await install.runners()).toEqual([]);
  });

  it('leaves even numbers in one file and odd in the other, both in DELETE mode with STRICT tables', async () => {
    await install.run(['start', '--say', 'one']);
    await install.run(['start', '--say', 'two']);
    const numbersIn = install.rows<{ seq: number }>('inbound', 'SELECT seq FROM messages_in').map((row) => row.seq);
    const numbersOut = install.rows<{ seq: number }>('outbound', 'SELECT seq FROM messages_out').map((row) => row.seq);
    expect(numbersIn).toHaveLength(2);
    expect(numbersOut).toHaveLength(2);
    expect(numbersIn.every((seq) => seq % 2 === 0)).toBe(true);
    expect(numbersOut.every((seq) => seq % 2 === 1)).toBe(true);
    for (const file of ['inbound', 'outbound'] as const) {
      expect(install.rows(file, 'PRAGMA journal_mode')).toEqual([{ journal_mode: 'delete' }]);
      const tables = install.rows<{ name: string; strict: number }>(
        file,
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'",
      );
      expect(tables.filter((table) => table.strict === 0)).toEqual([]);
      expect(tables.length).toBeGreaterThan(3);
    }
    // A host that stops right after the reply leaves the last settlement to the next one.
    await install.daemon();
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed'") === 2);
    expect(install.rows('inbound', 'SELECT DISTINCT status FROM messages_in')).toEqual([{ status: 'completed' }]);
    expect(install.rows('inbound', 'SELECT DISTINCT status FROM delivered')).toEqual([{ status: 'delivered' }]);
  });

  it('answers once when its runner is killed while it works', async () => {
    await install.daemon();
    const { client, messages } = await install.join();
    const id = await client.send('think for 2 seconds');
    await until(() => install.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
    const killed = await install.runners();
    expect(killed.length).toBeGreaterThan(0);
    for (const pid of killed) process.kill(pid, 'SIGKILL');

    await until(() => messages.length > 0);
    await client.send('hello');
    await until(() => messages.length > 1);
    expect(messages.map((message) => message.inReplyTo === id)).toEqual([true, false]);
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed'") === 2);
    expect(install.rows('inbound', 'SELECT tries FROM messages_in ORDER BY seq')).toEqual([{ tries: 2 }, { tries: 1 }]);
  });

  it('answers once when the host is killed between the reply and its delivery', async () => {
    const first = await install.daemon();
    const before = await install.join();
    const id = await before.client.send('think for 1 second');
    await until(() => install.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
    first.kill('SIGKILL');
    await first.ended;
    // The runner goes on alone and commits its reply; nobody is there to deliver it.
    await until(() => install.count('outbound', 'messages_out') === 1);
    expect(install.rows('inbound', 'SELECT 1 FROM delivered')).toEqual([]);

    await install.daemon();
    const { client, messages } = await install.join();
    await until(() => messages.length > 0);
    await client.send('hello');
    await until(() => messages.length > 1);
    expect(messages.map((message) => message.inReplyTo === id)).toEqual([true, false]);
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed'") === 2);
    expect(install.rows('inbound', 'SELECT tries FROM messages_in ORDER BY seq')).toEqual([{ tries: 1 }, { tries: 1 }]);
  });
});

describe('with the address of a Messages API', () => {
  it('answers through the Claude Agent SDK, without a network', async () => {
    const binary = process.env['NANOCLAW_CLAUDE_BINARY'];
    if (!binary)
      throw new Error('NANOCLAW_CLAUDE_BINARY is not set: run this through npm test, which fetches the binary.');
    const fake = await startFakeApi();
    try {
      const { exitCode, stdout, stderr } = await install.run(['start', '--say', 'a word of my own'], {
        ANTHROPIC_BASE_URL: fake.url,
        ANTHROPIC_API_KEY: 'not-a-key',
        NANOCLAW_CLAUDE_BINARY: binary,
      });
      expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
      expect(stdout).toContain('a word of my own');
      expect(install.rows('outbound', 'SELECT provider FROM container_state')).toEqual([{ provider: 'claude' }]);
    } finally {
      await fake.stop();
    }
  });
});

describe('bad input is one clear sentence and a non-zero exit', () => {
  it('a data folder that cannot be written', async () => {
    const inTheWay = join(install.data, 'file');
    writeFileSync(inTheWay, 'not a folder');
    const { exitCode, stderr } = await install.run(['start', '--say', 'hello'], {}, join(inTheWay, 'data'));
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(
      /^nanoclaw: The data folder .* cannot be written .*; nothing was changed\. .*another data folder\.$/,
    );
  });

  it('a second host on the same folder names the first and leaves it alone', async () => {
    const first = await install.daemon();
    const { exitCode, stderr } = await install.run(['start', '--say', 'hello']);
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(new RegExp(`^nanoclaw: Another host already runs on .*process ${first.pid}.*$`));
    const { client, messages } = await install.join();
    await client.send('still there?');
    await until(() => messages.length > 0);
  });

  it('a missing Bun, with the message kept and read once Bun is there', async () => {
    const { exitCode, stderr } = await install.run(['start', '--say', 'hello'], { NANOCLAW_BUN: '/nowhere/bun' });
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/nanoclaw: .*Bun was not found/);
    expect(stderr).toMatch(/kept/);
    // Whoever starts it by hand again has mended it: the wait that is left of the failure is not waited for.
    const mended = await install.run(['start', '--say', 'hello again']);
    expect({ exitCode: mended.exitCode, stderr: mended.stderr }).toMatchObject({ exitCode: 0 });
    // The one that was kept was read along with the new one, in one turn.
    await install.daemon();
    await until(() => install.count('inbound', "messages_in WHERE status = 'completed'") === 2);
    expect(install.rows('inbound', 'SELECT status FROM messages_in')).toEqual([
      { status: 'completed' },
      { status: 'completed' },
    ]);
  });

  it('an agent that ends at once, with its last words and nothing that drives a terminal (failures 49, 54)', async () => {
    const bun = join(install.data, 'bun');
    writeFileSync(bun, "#!/bin/sh\nprintf 'Wiped: \\033[2J\\033]0;owned\\007 the end.\\n'\nexit 3\n", { mode: 0o755 });
    const { exitCode, stderr } = await install.run(['start', '--say', 'hello'], { NANOCLAW_BUN: bun });
    expect(exitCode).toBe(5);
    expect(stderr).toMatch(/exit code 3/);
    expect(stderr).toMatch(/Wiped: .*the end\./);
    expect(stderr).not.toMatch(/(?!\n)\p{Cc}/u);
  });

  it('an unknown option and an unknown command', async () => {
    const option = await install.run(['start', '--frobnicate']);
    expect(option.exitCode).toBe(2);
    expect(option.stderr).toMatch(/^nanoclaw: Unknown option "--frobnicate"; nothing was done\. See --help\.$/);
    const command = await install.run(['dance']);
    expect(command.exitCode).toBe(2);
    expect(command.stderr).toMatch(/^nanoclaw: .*"dance"/);
  });

  it('a configuration with a wrong value or an unknown key', async () => {
    const wrong = await install.run(['start', '--say', 'x'], { NANOCLAW_RUNS_MAX: 'many' });
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toMatch(/^nanoclaw: NANOCLAW_RUNS_MAX is "many": /);
    writeFileSync(join(install.data, 'config.json'), '{"colour": "blue"}');
    const unknown = await install.run(['start', '--say', 'x']);
    expect(unknown.exitCode).toBe(2);
    expect(unknown.stderr).toMatch(/config\.json has the key "colour", which does not exist/);
  });
});
