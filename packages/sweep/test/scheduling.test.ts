import type { JsonObject } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOUR, MINUTE, NOON, SECOND, World } from './session.ts';

let world: World;

beforeEach(() => {
  world = new World();
});

afterEach(() => {
  world[Symbol.dispose]();
});

function scheduled(content: JsonObject): JsonObject {
  return { action: 'schedule_task', prompt: 'say hi', ...content };
}

describe('a request to schedule', () => {
  it('“in 10 seconds” is a task that runs once, with what the agent is to be told and where it answers', () => {
    const result = world.act(scheduled({ processAfter: NOON + 10 * SECOND, script: 'true' }), NOON);
    expect(result).toEqual({ type: 'scheduled', taskId: 'action-1', nextAt: NOON + 10 * SECOND });
    world.start(NOON);
    const claimed = world.runner?.claim(NOON + 10 * SECOND, { work: 1, control: 1, context: 1 });
    expect(claimed).toMatchObject({
      type: 'claimed',
      claimed: [
        {
          message: {
            kind: 'task',
            content: { prompt: 'say hi', script: 'true' },
            address: { platformId: 'main' },
            recurrence: null,
          },
        },
      ],
    });
  });

  it('is applied once: the same row again changes nothing and gives the same result', () => {
    const first = world.act(scheduled({ recurrence: '* * * * *' }), NOON, 'row-1');
    world.act({ action: 'cancel_task', taskId: 'row-1' }, NOON, 'row-2');
    expect(world.act(scheduled({ recurrence: '* * * * *' }), NOON + HOUR, 'row-1')).toEqual(first);
    expect(world.session.series.live()).toEqual([]);
  });

  it('is answered with the same refusal when a bad row comes again', () => {
    const bad = scheduled({ recurrence: 'often' });
    const first = world.act(bad, NOON, 'row-1');
    expect(first).toMatchObject({ type: 'refused', reason: 'bad-recurrence' });
    expect(world.act(bad, NOON, 'row-1')).toEqual(first);
  });

  it('failure 21: reads a time without an offset in the task’s zone', () => {
    const inBerlin = { timeZone: 'Europe/Berlin' };
    const at = (processAfter: string, more: JsonObject = inBerlin) => {
      const result = world.act(scheduled({ processAfter, ...more }), NOON);
      return result.type === 'scheduled' && result.nextAt !== null ? new Date(result.nextAt).toISOString() : result;
    };
    expect(at('2026-11-22T09:00')).toBe('2026-11-22T08:00:00.000Z');
    expect(at('2026-11-22 09:00:30')).toBe('2026-11-22T08:00:30.000Z');
    expect(at('2026-11-22T09:00:00Z')).toBe('2026-11-22T09:00:00.000Z');
    expect(at('2026-11-22T09:00-05:30')).toBe('2026-11-22T14:30:00.000Z');
    expect(at('2026-11-22T09:00', {})).toBe('2026-11-22T09:00:00.000Z');
    // In the spring gap the clocks go from 2 to 3.
    expect(at('2027-03-28T02:30')).toBe('2027-03-28T01:30:00.000Z');
    // In the autumn fold 2:30 comes twice.
    expect(at('2027-10-31T02:30')).toBe('2027-10-31T00:30:00.000Z');
  });

  it.each<[string, JsonObject, string, RegExp]>([
    ['no prompt', { action: 'schedule_task', processAfter: NOON }, 'malformed', /needs a prompt/],
    ['an empty prompt', scheduled({ prompt: ' ', processAfter: NOON }), 'malformed', /prompt must be a text/],
    ['a prompt that is no text', scheduled({ prompt: 5, processAfter: NOON }), 'malformed', /prompt must be a text/],
    ['a huge prompt', scheduled({ prompt: 'x'.repeat(20_001), processAfter: NOON }), 'too-long', /20000 is the most/],
    ['no time at all', scheduled({}), 'bad-time', /needs a time/],
    [
      'a time in the past',
      scheduled({ processAfter: NOON - HOUR }),
      'bad-time',
      /in the past; it is now 2026-11-21T12/,
    ],
    ['a time beyond reach', scheduled({ processAfter: '2099-01-01T00:00Z' }), 'bad-time', /too far ahead/],
    ['words for a time', scheduled({ processAfter: 'tomorrow' }), 'bad-time', /not a time/],
    ['a date that is none', scheduled({ processAfter: '2026-11-31T09:00' }), 'bad-time', /not a time/],
    ['four fields', scheduled({ recurrence: '* * * *' }), 'bad-recurrence', /has 4 fields and needs 5/],
    ['failure 23: seconds', scheduled({ recurrence: '* * * * * *' }), 'bad-recurrence', /has 6 fields and needs 5/],
    ['failure 23: nothing', scheduled({ recurrence: ' ' }), 'malformed', /recurrence must be a text/],
    ['a nickname', scheduled({ recurrence: '@daily' }), 'bad-recurrence', /needs 5/],
    ['minute 60', scheduled({ recurrence: '60 * * * *' }), 'bad-recurrence', /cannot be read as cron/],
    ['a day that never comes', scheduled({ recurrence: '0 0 31 2 *' }), 'bad-recurrence', /cannot be read|never comes/],
    ['chance', scheduled({ recurrence: 'H * * * *' }), 'bad-recurrence', /not a cron field/],
    ['a long one', scheduled({ recurrence: `${'1,'.repeat(60)}1 * * * *` }), 'bad-recurrence', /too long/],
    ['failure 25: a bad zone', scheduled({ recurrence: '* * * * *', timeZone: 'Mars/Base' }), 'bad-recurrence', /IANA/],
    ['an offset for a zone', scheduled({ recurrence: '* * * * *', timeZone: '+02:00' }), 'bad-recurrence', /IANA/],
    [
      'an unknown policy',
      scheduled({ recurrence: '* * * * *', overlap: 'maybe' }),
      'malformed',
      /skip, buffer-one, allow/,
    ],
    ['a count of none', scheduled({ recurrence: '* * * * *', countMax: 0 }), 'malformed', /whole number from 1/],
    [
      'an end before the start',
      scheduled({ recurrence: '* * * * *', end: NOON - 1 }),
      'bad-recurrence',
      /end comes before/,
    ],
    ['an unknown task', { action: 'cancel_task', taskId: 'nothing' }, 'unknown-task', /There is no task/],
    ['no task', { action: 'pause_task' }, 'malformed', /taskId is needed/],
    ['another action', { action: 'fly' }, 'malformed', /not a scheduling action/],
  ])('is refused with its reason: %s', (_name, content, reason, message) => {
    const result = world.act(content, NOON);
    expect(result).toMatchObject({ type: 'refused', reason });
    expect(result.type === 'refused' && result.message).toMatch(message);
    expect(world.session.series.live()).toEqual([]);
    expect(world.session.series.open()).toEqual([]);
  });

  it('is refused when there are 50 tasks already', () => {
    for (let i = 0; i < 50; i++) world.task({ recurrence: '0 9 * * *' }, NOON);
    expect(world.act(scheduled({ recurrence: '0 9 * * *' }), NOON)).toMatchObject({ reason: 'too-many' });
  });
});

describe('failure 24: a task that is being run', () => {
  it('when cancelled, ends here, and what its run still says of it means nothing', async () => {
    const id = world.task({ recurrence: '*/15 * * * *' }, NOON);
    world.start(NOON);
    const [occurrence] = world.claim(NOON + 15 * MINUTE);
    expect(world.act({ action: 'cancel_task', taskId: id }, NOON + 16 * MINUTE)).toEqual({
      type: 'cancelled',
      taskId: id,
      occurrences: [occurrence],
    });
    world.end('left');
    await world.sweep(NOON + HOUR);
    expect(world.session.message(occurrence ?? '')).toMatchObject({ status: 'cancelled', tries: 0 });
    expect(world.session.series.open(id)).toEqual([]);
    expect(await world.sweep(NOON + 5 * HOUR)).toMatchObject({ verdict: { reason: 'idle' }, lookAgainAt: undefined });
  });

  it('when paused, may end, and nothing follows until it is resumed', async () => {
    const id = world.task({ recurrence: '*/15 * * * *' }, NOON);
    world.start(NOON);
    const result = world.runner?.claim(NOON + 15 * MINUTE, { work: 1, control: 1, context: 1 });
    world.act({ action: 'pause_task', taskId: id }, NOON + 16 * MINUTE);
    expect(world.open(id)).toEqual(['12:15 paused']);
    if (result?.type !== 'claimed') throw new Error('nothing was claimed');
    world.runner?.finish(
      result.claimed.map((one) => one.claim),
      { type: 'completed' },
      [],
      NOON + 17 * MINUTE,
    );
    await world.sweep(NOON + 18 * MINUTE);
    expect(world.session.series.get(id)).toMatchObject({ status: 'paused', fired: 1 });
    expect(world.open(id)).toEqual([]);

    expect(world.act({ action: 'resume_task', taskId: id }, NOON + 2 * HOUR + MINUTE)).toEqual({
      type: 'resumed',
      taskId: id,
      nextAt: NOON + 2 * HOUR + 15 * MINUTE,
    });
  });
});

describe('a task that waits', () => {
  it('is paused and resumed with its occurrence', () => {
    const id = world.task({ recurrence: '*/15 * * * *' }, NOON);
    world.act({ action: 'pause_task', taskId: id }, NOON + MINUTE);
    world.start(NOON);
    expect(world.claim(NOON + 20 * MINUTE)).toEqual([]);
    // Its time passed in the pause: it is not made up for.
    world.act({ action: 'resume_task', taskId: id }, NOON + 20 * MINUTE);
    expect(world.open(id)).toEqual(['12:30 pending']);
  });

  it('that runs once is run after a pause, though late', () => {
    const id = world.task({ processAfter: NOON + MINUTE }, NOON);
    world.act({ action: 'pause_task', taskId: id }, NOON);
    world.start(NOON);
    expect(world.claim(NOON + HOUR)).toEqual([]);
    world.act({ action: 'resume_task', taskId: id }, NOON + HOUR);
    expect(world.claim(NOON + HOUR)).toHaveLength(1);
  });

  it('is updated with the occurrence that stands ahead: prompt, times and policies', () => {
    const id = world.task({ recurrence: '*/15 * * * *', timeZone: 'Europe/Berlin' }, NOON);
    expect(world.act({ action: 'update_task', taskId: id, prompt: 'say bye', recurrence: '0 * * * *' }, NOON)).toEqual({
      type: 'updated',
      taskId: id,
      nextAt: NOON + HOUR,
    });
    expect(world.open(id)).toEqual(['13:00 pending']);
    expect(world.session.series.get(id)).toMatchObject({
      recurrence: { cron: '0 * * * *', timeZone: 'Europe/Berlin' },
      content: { prompt: 'say bye' },
    });
    // And back: the slot that was taken back may be written again.
    world.act({ action: 'update_task', taskId: id, recurrence: '*/15 * * * *' }, NOON);
    expect(world.open(id)).toEqual(['12:15 pending']);
    world.start(NOON);
    const claimed = world.runner?.claim(NOON + 15 * MINUTE, { work: 1, control: 1, context: 1 });
    expect(claimed).toMatchObject({ claimed: [{ message: { content: { prompt: 'say bye' } } }] });
  });

  it('keeps everything when an update is refused', () => {
    const id = world.task({ recurrence: '*/15 * * * *' }, NOON);
    const before = [world.session.series.get(id), world.session.series.open(id)];
    expect(world.act({ action: 'update_task', taskId: id, recurrence: 'often' }, NOON)).toMatchObject({
      reason: 'bad-recurrence',
    });
    expect([world.session.series.get(id), world.session.series.open(id)]).toEqual(before);
  });

  it('when cancelled is over, and says so to who asks again', () => {
    const id = world.task({ recurrence: '*/15 * * * *' }, NOON);
    world.act({ action: 'cancel_task', taskId: id }, NOON);
    expect(world.act({ action: 'resume_task', taskId: id }, NOON)).toMatchObject({
      type: 'refused',
      reason: 'unknown-task',
      message: expect.stringMatching(/over \(cancelled\)/),
    });
  });
});
