import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isInstanceName, openRegistry, userId } from '../src/index.ts';
import { ENGINES, registryOn, temporaryFolder } from './folder.ts';

describe.each(ENGINES)('on %s', (engine) => {
  it('A name is the first type’s that claims it, and stays that', async () => {
    const { channels } = await registryOn(engine);
    expect(await channels.claim('irc', 'irc', 10)).toBe('new');
    expect(await channels.claim('libera', 'irc', 20)).toBe('new');
    expect(await channels.claim('libera', 'irc', 30)).toBe('known');
    expect(await channels.claim('libera', 'telegram', 40)).toEqual({ takenBy: 'irc' });
    expect(await channels.list()).toEqual([
      { name: 'irc', type: 'irc', firstSeen: 10 },
      { name: 'libera', type: 'irc', firstSeen: 20 },
    ]);
  });

  it('Of two claims at once one is the first', async () => {
    const { channels } = await registryOn(engine);
    const results = await Promise.all([channels.claim('work', 'irc', 10), channels.claim('work', 'telegram', 10)]);
    const [owner] = await channels.list();
    expect(results.filter((result) => result === 'new')).toHaveLength(1);
    expect(results).toContainEqual({ takenBy: owner?.type });
  });

  it('What is no instance name is refused in a sentence, and nothing is claimed', async () => {
    const { channels } = await registryOn(engine);
    for (const name of ['', 'a:b', 'IRC', '7th', 'agent', 'a\nb']) {
      await expect(channels.claim(name, 'irc', 10)).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(
          /^The name of a channel instance .* Nothing was changed in the channel instances\.$/,
        ),
      });
    }
    await expect(channels.claim('libera', '', 10)).rejects.toMatchObject({ code: 'invalid' });
    expect(await channels.list()).toEqual([]);
  });
});

it('A name is remembered when the host starts again', async () => {
  const file = join(temporaryFolder(), 'registry.db');
  const options = { file, now: () => 0, newId: () => 'id' };
  {
    await using registry = await openRegistry(options);
    expect(await registry.channels.claim('libera', 'irc', 10)).toBe('new');
  }
  await using registry = await openRegistry(options);
  expect(await registry.channels.claim('libera', 'irc', 20)).toBe('known');
  expect(await registry.channels.claim('libera', 'xmpp', 20)).toEqual({ takenBy: 'irc' });
  expect(await registry.channels.list()).toEqual([{ name: 'libera', type: 'irc', firstSeen: 10 }]);
});

describe('isInstanceName', () => {
  it.each(['terminal', 'webhook', 'memory', 'irc-libera', 'a', `a${'b'.repeat(63)}`])('accepts %j', (name) => {
    expect(isInstanceName(name)).toBe(true);
    expect(userId(name, 'ann')).toBe(`${name}:ann`);
  });

  it.each(['', 'IRC', '7th', '-a', 'a:b', 'a_b', 'a b', 'a\n', 'é', 'agent', `a${'b'.repeat(64)}`])(
    'refuses %j',
    (name) => {
      expect(isInstanceName(name)).toBe(false);
    },
  );
});
