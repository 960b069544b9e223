import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Install, until } from './host-process.ts';

let install: Install;

beforeEach(() => {
  install = new Install();
});
afterEach(() => install.close());

/** Kills everything of the install at once, as a power cut would, and starts the host again. */
async function crash(host: { kill(signal: 'SIGKILL'): void; readonly ended: Promise<unknown> }) {
  host.kill('SIGKILL');
  for (const pid of await install.runners()) process.kill(pid, 'SIGKILL');
  await host.ended;
  return install.daemon();
}

describe('schedules typed into the terminal, with crashes in between', () => {
  it('reminds once, in time, although host and runner were killed after it was asked for', async () => {
    const host = await install.daemon();
    const first = await install.join();
    await first.client.send('remind me in 6 seconds to stretch');
    await until(() => first.messages.length === 1);
    const at = Date.parse(String(JSON.parse(first.messages[0]?.text ?? '{}').nextAt));

    await crash(host);
    const { messages } = await install.join();
    await until(() => messages.some((message) => message.text === 'Reminder: stretch'));
    expect(messages.at(-1)?.timestamp).toBeGreaterThanOrEqual(at);
    await until(
      () => install.count('inbound', "messages_in WHERE kind = 'task' AND status = 'completed' AND tries = 1") === 1,
    );
    expect(messages.filter((message) => message.text === 'Reminder: stretch')).toHaveLength(1);
  });

  it('says hi every minute, holds it while paused, goes on when resumed, and ends when cancelled', async () => {
    let host = await install.daemon();
    let { client, messages } = await install.join();
    const rejoin = () => install.join({ after: messages.at(-1)?.n ?? 0 });
    const told = async (text: string): Promise<string> => {
      const before = messages.filter((message) => message.text !== 'hi').length;
      await client.send(text);
      await until(() => messages.filter((message) => message.text !== 'hi').length > before);
      return messages.findLast((message) => message.text !== 'hi')?.text ?? '';
    };
    const greetings = () => messages.filter((message) => message.text === 'hi').length;
    const open = () =>
      install.rows<{ status: string }>(
        'inbound',
        "SELECT status FROM messages_in WHERE kind = 'task' AND settled_at IS NULL",
      );

    const { taskId } = JSON.parse(await told('every minute say hi'));
    await until(() => greetings() === 1, 70_000);
    expect(await told(`pause task ${taskId}`)).toContain('paused');
    expect(open().map((row) => row.status)).not.toContain('pending');

    host = await crash(host);
    ({ client, messages } = await rejoin());
    expect(await told('list tasks')).toContain(`${taskId}: paused`);
    expect(await told(`resume task ${taskId}`)).toContain('resumed');
    expect(open().map((row) => row.status)).toEqual(['pending']);

    host = await crash(host);
    ({ client, messages } = await rejoin());
    await until(() => greetings() === 1, 70_000);
    expect(await told(`cancel task ${taskId}`)).toContain('cancelled');
    expect(open()).toEqual([]);
    expect(await told('list tasks')).toBe('There are no tasks.');

    // Each slot that fired has fired once.
    const slots = install.rows<{ slot: number }>('inbound', 'SELECT slot FROM messages_in WHERE slot IS NOT NULL');
    expect(new Set(slots.map((row) => row.slot)).size).toBe(slots.length);
  }, 240_000);
});
