/** The whole main job with agents in hardened containers that have no network. */
import { readFileSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFakeApi, until } from '../host-process.ts';
import { ENGINE, EngineInstall, engine, hostEnvironment, inside } from './engine-install.ts';

describe.skipIf(ENGINE === '')('in a container without a network', () => {
  let install: EngineInstall;
  beforeEach(() => {
    install = new EngineInstall();
  });
  afterEach(() => install.close());

  describe('the offline agent', () => {
    it('answers, and leaves no container behind', async () => {
      const env = hostEnvironment('slim');
      const { exitCode, stdout, stderr } = await install.host.run(['start', '--say', 'hello there'], env);
      expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
      expect(stdout).toContain('hello there');
      expect(stderr).toContain(`Isolation: containers of ${ENGINE}`);
      expect(await install.containers()).toEqual([]);
    });

    it('uses a tool of the host and hears what came of it', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('remind me in 1 h to stretch');
      await until(() => install.host.count('inbound', "messages_in WHERE kind = 'task'") === 1);
      // While the host writes, the agent is told to try again; so does a person.
      await until(async () => {
        const before = messages.length;
        await client.send('list tasks');
        await until(() => messages.length > before);
        return messages.some(({ text }) => text.includes('Reminder: stretch'));
      });
      expect(await install.containers()).toHaveLength(1);
    });

    it('sends a file that it has written, which the host can read', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('send a file called hello.txt');
      await until(() => messages.length > 0);
      const [message] = messages;
      expect(message).toMatchObject({ kind: 'text', text: 'Here is your file.', files: [{ name: 'hello.txt' }] });
      const [file] = message?.kind === 'text' ? message.files : [];
      expect(readFileSync(file?.path ?? '', 'utf8')).not.toBe('');
      // It is shown before it is confirmed.
      await until(() => install.host.count('inbound', "delivered WHERE status <> 'delivered'") === 0);
      expect(install.host.rows('inbound', 'SELECT DISTINCT status FROM delivered')).toEqual([{ status: 'delivered' }]);
    });

    it('is woken by a task when it is due', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('remind me in 2 s to stretch');
      await until(() => messages.some(({ text }) => text === 'Reminder: stretch'));
    });

    it('asks, waits for the answer, and goes on with it', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('ask me tea or coffee');
      await until(() => messages.some(({ text }) => text.includes('tea, coffee?')));
      await client.send('coffee');
      await until(() => messages.length > 1);
      expect(messages.at(-1)?.text).toContain('coffee');
    });

    it('stops what it is doing when told /stop, and answers what comes next', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('think for 100 seconds');
      await install.busy();
      await client.send('/stop');
      await client.send('say still here');
      await until(() => messages.some(({ text }) => text.includes('still here')));
      expect(messages.some(({ text }) => text.includes('Done thinking'))).toBe(false);
    });

    it('answers once when its container is killed in mid-turn', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      const id = await client.send('think for 2 seconds');
      await install.busy();
      const killed = await install.container();
      await engine('kill', '--signal', 'KILL', killed);

      await until(() => messages.length > 0);
      await client.send('hello');
      await until(() => messages.length > 1);
      expect(messages.map((message) => message.inReplyTo === id)).toEqual([true, false]);
      await until(() => install.host.count('inbound', "messages_in WHERE status = 'completed'") === 2);
      expect(install.host.rows('inbound', 'SELECT tries FROM messages_in ORDER BY seq')).toEqual([
        { tries: 2 },
        { tries: 1 },
      ]);
      expect(await install.container()).not.toBe(killed);
    });

    it('goes on while its host dies and starts anew, and is adopted', async () => {
      const first = await install.daemon();
      const before = await install.host.join();
      const id = await before.client.send('think for 3 seconds');
      await install.busy();
      const container = await install.container();
      first.kill('SIGKILL');
      await first.ended;

      await install.daemon();
      const { messages } = await install.host.join();
      await until(() => messages.length > 0);
      expect(messages.map((message) => message.inReplyTo)).toEqual([id]);
      expect(await install.containers()).toEqual([container]);
      await until(() => install.host.count('inbound', "messages_in WHERE status = 'completed'") === 1);
      expect(install.host.rows('inbound', 'SELECT tries FROM messages_in')).toEqual([{ tries: 1 }]);
    });

    it('is replaced at the start of a host that would start it differently', async () => {
      const first = await install.daemon();
      const before = await install.host.join();
      await before.client.send('hello');
      await until(() => before.messages.length === 1);
      const old = await install.container();
      first.kill('SIGKILL');
      await first.ended;

      await install.daemon({ NANOCLAW_RUN_MEMORY_MB: '777' });
      const { client, messages } = await install.host.join({ after: before.messages.at(-1)?.n ?? 0 });
      await client.send('hello again');
      await until(() => messages.length > 0);
      const current = await install.container();
      expect(current).not.toBe(old);
      expect(await engine('inspect', '--format', '{{.HostConfig.Memory}}', current)).toBe(String(777 * 1024 ** 2));
    });

    it('can write what is its own and nothing else, and has no way out', async () => {
      await install.daemon();
      const { client, messages } = await install.host.join();
      await client.send('hello');
      await until(() => messages.length > 0);
      const container = await install.container();
      const tries = [
        '/workspace/inbound/x',
        '/workspace/inbound/inbound.db',
        '/workspace/inbound/inbound.db-journal',
        '/workspace/inbound/files/x',
        '/app/config/container.json',
        '/app/src/main.js',
        '/app/skills/notes/SKILL.md',
        '/x',
        '/usr/local/bin/bun',
        '/etc/passwd',
        '/workspace/outbound/x',
        '/workspace/agent/x',
        '/workspace/state/x',
        '/tmp/x',
      ];
      const script = tries.map((path) => `(: >>${path}) 2>/dev/null && echo ${path}`).join('; ');
      expect((await inside(container, script)).split('\n')).toEqual([
        '/workspace/outbound/x',
        '/workspace/agent/x',
        '/workspace/state/x',
        '/tmp/x',
      ]);
      expect(await inside(container, 'grep -h ^Cap /proc/1/status | sort -u -k2 | cut -f2')).toBe('0000000000000000');
      expect(await inside(container, 'cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d " "')).toBe('lo');
      expect(await inside(container, 'bun -e "await fetch(\'http://1.1.1.1\')" >/dev/null 2>&1; echo $?')).toBe('1');
      expect(await inside(container, 'tr "\\0" " " </proc/1/cmdline')).toMatch(/^\/usr\/bin\/tini -- bun /);
    });
  });

  describe('the agent with Claude', () => {
    it('answers through a Unix socket, with a tool of ours in between', async () => {
      const fake = await startFakeApi('send');
      const { port } = new URL(fake.url);
      const path = join(install.host.data, 'model.sock');
      const socket = await bridge(path, Number(port));
      try {
        const { exitCode, stdout, stderr } = await install.host.run(['start', '--say', 'a word of my own'], {
          ...hostEnvironment('claude'),
          ANTHROPIC_BASE_URL: 'http://model',
          ANTHROPIC_API_KEY: 'not-a-key',
          ANTHROPIC_UNIX_SOCKET: path,
        });
        expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
        expect(stdout).toMatch(/sent: [^]*a word of my own/);
        // Sent by the tool in the middle of the turn; what the model says of it in the end is another text.
        const sent = install.host.rows<{ content: string }>('outbound', 'SELECT content FROM messages_out');
        expect(sent).toEqual([
          { content: expect.stringContaining('sent: ') },
          { content: expect.stringContaining('echo: Sent as message 3.') },
        ]);
        expect(install.host.rows('outbound', 'SELECT provider FROM container_state')).toEqual([{ provider: 'claude' }]);
      } finally {
        await new Promise((resolve) => socket.close(resolve));
        await fake.stop();
      }
    });
  });
});

/** Listens on a Unix socket and hands everything on to a port of the loopback. */
async function bridge(path: string, port: number): Promise<Server> {
  const server = createServer((client) => {
    const upstream = createConnection(port, '127.0.0.1');
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, writableAll: true }, resolve);
  });
  return server;
}
