/**
 * The host dies between any two steps of taking something in, and a new one goes on with what is on disk and
 * what the platform sends again. However it was, the end is the same.
 */
import type { ReceivedEvent } from '@nanoclaw/channels';
import { describe, expect, it } from 'vitest';
import { at, by, choice, file, message, openGround, World, type Wrap } from './people-world.ts';

/** A host's life: it ends at a step. */
class Mortality {
  #steps = 0;
  #lastStep: number;

  constructor(lastStep: number) {
    this.#lastStep = lastStep;
  }

  get isDead(): boolean {
    return this.#steps > this.#lastStep;
  }

  /** Before each call of a port, and before the platform hears that the host has it. */
  readonly step = (): void => {
    this.#steps += 1;
    if (this.isDead) throw new Error('The host has died.');
  };

  /** From here on it does not die. */
  live(): void {
    this.#lastStep = Number.POSITIVE_INFINITY;
  }

  /** The port, as something that does nothing more once the host is dead: each call can be the last. */
  readonly wrap: Wrap = (port) => {
    // What is in a proxy's traps has no type; what comes out has the port's own.
    return new Proxy(port, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value === 'object' && value !== null && !(value instanceof Set)) return this.wrap(value);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          this.step();
          const result: unknown = Reflect.apply(value, target, args);
          return result instanceof Promise ? result.then((settled) => this.#wrapped(settled)) : result;
        };
      },
    });
  };

  /** The session that was asked for is a port, too. */
  #wrapped(result: unknown): unknown {
    const isHandle = typeof result === 'object' && result !== null && 'files' in result && 'folder' in result;
    return isHandle ? this.wrap(result) : result;
  }
}

interface Scenario {
  readonly name: string;
  readonly prepare: (world: World) => Promise<void>;
  /** What people do, one after the other. */
  readonly events: readonly ((world: World) => Promise<ReceivedEvent>)[];
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a message with a file for two agents, one of which is called and one of which listens',
    prepare: async (world) => {
      const chat = await world.chat();
      await world.wire(chat, await world.agent('called'), {
        engage: { mode: 'mention-sticky' },
        sessionMode: 'per-thread',
      });
      await world.wire(chat, await world.agent('listening'), { engage: { mode: 'mention' }, otherwise: 'accumulate' });
    },
    events: [
      async () => message({ address: at('room', 't'), isMention: true, files: [file('a.txt', 'inside')] }),
      async () => message({ platformMessageId: 'p2', address: at('room', 't') }),
    ],
  },
  {
    name: 'a command of an admin and one of somebody else',
    prepare: async (world) => {
      await world.wire(await world.chat(), await world.agent());
      await world.grant('owner', { role: 'owner' });
    },
    events: [
      async () => message({ text: '/clear', sender: by('owner') }),
      async () => message({ platformMessageId: 'p2', text: '/clear' }),
    ],
  },
  {
    name: 'a stranger who is let in',
    prepare: prepareStrangers,
    events: [async () => message(), (world) => pressCard(world, 0)],
  },
  {
    name: 'a stranger who is turned away by a word in a chat where another agent hears everything',
    prepare: async (world) => {
      await prepareStrangers(world);
      await world.wire(await world.chat('dm-owner', { kind: 'direct' }), await world.agent('other'));
    },
    events: [
      async () => message(),
      async ({ ground }) =>
        message({
          text: 'Deny',
          address: at('dm-owner'),
          sender: by('owner'),
          isDirect: true,
          timestamp: ground.clock.now,
        }),
    ],
  },
  {
    name: 'a chat that is opened',
    prepare: async (world) => {
      await world.agent();
      await world.grant('owner', { role: 'owner' });
    },
    events: [async () => message({ isMention: true }), (world) => pressCard(world, 0)],
  },
  {
    name: 'an answer by a button',
    prepare: prepareQuestion,
    events: [pressAnswer],
  },
  {
    name: 'an answer in words',
    prepare: prepareQuestion,
    events: [async () => message({ platformMessageId: 'p2', text: 'Blue' })],
  },
];

describe.each(SCENARIOS)('$name', (scenario) => {
  it('ends in the same way wherever the host died', { timeout: 300_000 }, async () => {
    const undisturbed = await lived(scenario, Number.POSITIVE_INFINITY);
    let lastStep = 0;
    for (let died = true; died; lastStep++) {
      const life = await lived(scenario, lastStep);
      expect({ lastStep, ...life.end }).toEqual({ lastStep, ...undisturbed.end });
      died = life.died;
    }
    expect(lastStep).toBeGreaterThan(10);
  });
});

/** A history in which the first host dies after `lastStep` steps, and what is left in its end. */
async function lived({ prepare, events }: Scenario, lastStep: number) {
  using ground = openGround();
  {
    await using before = await World.open(ground);
    await prepare(before);
  }
  const mortality = new Mortality(lastStep);
  let world = await World.open(ground, mortality.wrap, mortality.step);
  try {
    for (const happening of events) {
      const event = await happening(world);
      ground.clock.now += 1_000;
      if ((await ground.platform.say(event)) === 'acknowledged') continue;
      expect(mortality.isDead).toBe(true);
      await world[Symbol.asyncDispose]();
      // The platform repeats what was not acknowledged as soon as the new host is there, and once more here.
      world = await World.open(ground);
      await world.people.upkeep();
      expect(await ground.platform.say(event)).toBe('acknowledged');
    }
    if (!mortality.isDead) mortality.live();
    await world.people.upkeep();
    return { died: mortality.isDead, end: await endOf(world) };
  } finally {
    await world[Symbol.asyncDispose]();
  }
}

/** All that lasts, with the counted ids taken out: how many were spent differs. */
async function endOf(world: World) {
  const { registry, ground } = world;
  const approvals = await registry.approvals.list({ limit: 10 });
  const questions = await registry.questions.list({ limit: 10 });
  const sessions = await world.handles();
  const audited = (await registry.audit.list({ limit: 100 })).map(({ actor, action, outcome }) => [
    actor,
    action,
    outcome,
  ]);
  const end = {
    inboxes: (await world.inboxes()).toSorted(),
    due: sessions.map((session) => session.files.dueCount(ground.clock.now)).toSorted((a, b) => a - b),
    replyTo: sessions.map((session) => session.files.routing().replyTo?.platformId).toSorted(),
    approvals: approvals.map(({ subject, outcome, isApplied }) => [
      subject.replace(/^\S+ /, ''),
      outcome?.type,
      isApplied,
    ]),
    questions: questions.map(({ outcome, isNotified }) => [outcome?.type, isNotified]),
    members: (await registry.people.memberships()).map(({ userId }) => userId),
    wirings: (await registry.wirings()).length,
    shown: ground.platform.shown.map(({ key }) => key).toSorted(),
    // Nothing that was done is missing there; a step that was made twice may be in it twice.
    audited: [...new Set(audited.map((entry) => entry.join(' ')))],
    unacknowledged: ground.platform.unacknowledged.length,
  };
  return JSON.parse(JSON.stringify(end).replaceAll(/id-\d+/g, 'id'));
}

async function prepareStrangers(world: World): Promise<void> {
  await world.wire(await world.chat('room', { strangers: 'request_approval' }), await world.agent());
  await world.grant('owner', { role: 'owner' });
}

async function prepareQuestion(world: World): Promise<void> {
  const chat = await world.chat();
  await world.wire(chat, await world.agent(), { priority: 1 });
  await world.people.receive(message());
  const [session] = await world.handles();
  if (session === undefined) throw new Error('no session was made');
  const content = { operation: 'ask_question', title: '', question: 'Which?', options: ['Red', 'Blue'] };
  const row = { seq: 3, runId: 'run', kind: 'chat', timestamp: 0, deliverAfter: null, address: null } as const;
  const inReplyTo = 'memory:room:p1';
  await world.people.questions.open(session, { ...row, id: 'run/1', inReplyTo, content }, at('room'));
}

async function pressAnswer({ registry }: World): Promise<ReceivedEvent> {
  const [question] = await registry.questions.list({ limit: 1 });
  return choice(question?.id ?? '', 1, { address: at('room'), sender: by('ann') });
}

async function pressCard({ registry, ground }: World, index: number): Promise<ReceivedEvent> {
  const [approval] = await registry.approvals.list({ limit: 1 });
  return choice(`approval:${approval?.id}`, index, { timestamp: ground.clock.now });
}
