/**
 * What a container writes in masses, against a whole host with its real guard: the host takes in no more than it may, and
 * who has nothing to do with it is answered meanwhile.
 */
import { statSync } from 'node:fs';
import { HostSession, type SessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AttackedHost, asContainer, type ForgedRow, forge } from './attack-support.ts';
import { freePort, until, untilSteady } from './whole-host.ts';

let attacked: AttackedHost;
let folder: SessionFolder;

beforeEach(async () => {
  attacked = new AttackedHost({ settings: { healthPort: await freePort() } });
  folder = await attacked.start();
});
afterEach(() => attacked.close());

/** How far the host has taken in what the container wrote. */
function takenIn(): number {
  using view = HostSession.view(folder, openSqlite);
  return view.cursor().messagesAfter;
}

const FLOODS: [string, number, (index: number) => ForgedRow][] = [
  ['long texts', 600, () => ({ content: { text: 'x y '.repeat(20_000) } })],
  ['threads of its own invention', 6_000, (i) => ({ address: ['memory', 'chat-0', `t${i}`], content: { text: 'x' } })],
  [
    'places that it may not write to',
    6_000,
    () => ({ address: ['memory', 'chat-1', null], content: { text: 'x'.repeat(5_000) } }),
  ],
  ['messages for next year', 6_000, () => ({ deliverAfter: Date.now() + 31_536_000_000, content: { text: 'x' } })],
];

describe('a flood of (failures 13, 49, 52)', () => {
  it.each(FLOODS)(
    '%s is held back in its own file, and nobody else waits',
    async (_, count, row) => {
      forge(
        folder,
        Array.from({ length: count }, (__, index) => row(index)),
      );
      await attacked.bystander('one');
      await until(() => takenIn() > 20);
      await attacked.bystander('two');
      await attacked.bystander('three');
      if (count > 1_300) await attacked.untilCounted('findings_total{finding="messages-held-back"}');
      await untilSteady(takenIn);
      // At most a limit's worth of rows, and what the last read brought: 250 rows or 1 MiB.
      expect(takenIn()).toBeLessThan(2 * 1_300 + 10);
      expect(statSync(folder.inbound.database).size).toBeLessThan(12 * 2 ** 20);
    },
    60_000,
  );

  it('rows that no honest runner writes: the log tells of them in a few words', async () => {
    forge(
      folder,
      Array.from({ length: 5_000 }, () => ({ kind: 'evil', content: { text: 'x' } })),
    );
    await until(() => takenIn() > 9_000);
    const lines = attacked.log.filter((line) => line.includes('rows-refused'));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('').length).toBeLessThan(20_000);
    expect(await attacked.counted('rows_refused_total{table="messages_out"}')).toBeGreaterThan(4_000);
  }, 60_000);

  it('commands that are refused: the chat hears a few answers (failure 59)', async () => {
    const { whole } = attacked;
    for (let n = 0; n < 40; n += 1) expect(await whole.say(0, `clear-${n}`, '/clear')).toBe('acknowledged');
    const answers = whole.platform.shown.filter(({ message }) => 'text' in message && /for admins/.test(message.text));
    expect(answers).toHaveLength(20);
  });

  it.each([
    ['claims that no honest runner makes', 'x'.repeat(2_000), 1_000],
    ['claims of messages that there are not', 'made-up-', 0],
  ])(
    '%s: its own are heard all the same, once they are read through',
    async (_, messageId, refused) => {
      asContainer(folder, (db) => {
        db.exec('BEGIN IMMEDIATE');
        for (let n = 0; n < 1_000; n += 1) {
          db.run(
            `INSERT INTO processing_ack (change, message_id, attempt, run_id, status, status_changed)
           SELECT max(change) + 1, :id, 1, 'forged', 'processing', 1 FROM processing_ack`,
            { id: `${messageId}${n}` },
          );
        }
        db.exec('COMMIT');
      });
      await attacked.whole.say(0, 'again', 'and now?');
      await until(() => {
        using view = HostSession.view(folder, openSqlite);
        return view.received('memory:chat-0:again')?.status === 'completed';
      }, 20_000);
      await attacked.bystander('one');
      expect(await attacked.counted('rows_refused_total{table="processing_ack"}')).toBeGreaterThanOrEqual(refused);
    },
    60_000,
  );
});
