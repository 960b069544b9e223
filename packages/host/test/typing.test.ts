import type { Ack } from '@nanoclaw/session-db';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionHandle } from '../src/session/sessions.ts';
import { Typing } from '../src/upkeep/typing.ts';
import { OutboundWorld } from './outbound-world.ts';

let world: OutboundWorld;
let session: SessionHandle;
let typing: Typing;
let claim: Ack;

beforeEach(async () => {
  world = await OutboundWorld.make();
  session = await world.session('nano');
  typing = new Typing(world.channels());
  const messageId = await world.hear(session, 'p1');
  claim = { messageId, attempt: 1, runId: 'r', status: 'processing', statusChanged: world.now, error: null };
});
afterEach(() => world[Symbol.asyncDispose]());

const shown = () => world.platform.typing.map(({ platformId }) => platformId);

describe('typing', () => {
  it('is shown in the chat of the message that a run works on, every few seconds while it makes progress', () => {
    for (let i = 0; i < 100; i += 1) {
      typing.update(session, [claim], world.now, world.now);
      world.now += 100;
    }
    expect(shown()).toEqual(['nano', 'nano', 'nano']);
  });

  it('is not shown without progress, and not once the turn has ended', () => {
    typing.update(session, [claim], world.now, world.now);
    for (let i = 0; i < 10; i += 1) typing.update(session, [claim], world.now, world.now + i * 10_000);
    typing.update(session, [], world.now + 200_000, world.now + 200_000);
    expect(shown()).toHaveLength(1);
  });

  it('is not shown for a progress that lies ahead, or long ago', () => {
    typing.update(session, [claim], world.now + 1, world.now);
    typing.update(session, [claim], world.now - 60_000, world.now);
    typing.update(session, [{ ...claim, messageId: 'invented' }], world.now, world.now);
    expect(shown()).toEqual([]);
  });

  it('is no trouble where a channel has none, or cannot show it', () => {
    const { channel } = world;
    const failing = Object.assign(Object.create(channel), { typing: () => Promise.reject(new Error('no')) });
    new Typing(new Map([[channel.type, failing]])).update(session, [claim], world.now, world.now);
    new Typing(new Map()).update(session, [claim], world.now, world.now);
    expect(shown()).toEqual([]);
  });
});
