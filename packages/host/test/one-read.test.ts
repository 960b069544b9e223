/** How often the host reads a runner's file: once for each bell, for the sweep and delivery together. */
import { join } from 'node:path';
import type { SendResult } from '@nanoclaw/channels';
import { DeliveryLoop } from '@nanoclaw/delivery';
import type { Guard } from '@nanoclaw/guard';
import { type OutboundReader, type SessionFolder, SessionLoop } from '@nanoclaw/session-db';
import { ring } from '@nanoclaw/session-db/protocol';
import { type RunState, SWEEP_POLICY } from '@nanoclaw/sweep';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OutboundGuard } from '../src/host/host-setup.ts';
import type { SessionHandle } from '../src/session/sessions.ts';
import { Activity } from '../src/upkeep/activity.ts';
import { ModelTroubles } from '../src/upkeep/model-troubles.ts';
import { Typing } from '../src/upkeep/typing.ts';
import { Upkeep } from '../src/upkeep/upkeep.ts';
import { AttackedHost, forge } from './attack-support.ts';
import { OutboundWorld } from './outbound-world.ts';
import { testGuard, until } from './whole-host.ts';

const LIMITS = { work: 10, control: 10, context: 10 };

/** The sweep and delivery of a host over one session. No time passes in it; what rings is said by the test. */
class Bench {
  readonly world: OutboundWorld;
  readonly session: SessionHandle;
  readonly delivery: DeliveryLoop;
  readonly sweep: SessionLoop;
  run: RunState = { type: 'none' };
  wakes = 0;
  readonly sent: unknown[] = [];
  answer: () => Promise<SendResult> = async () => ({ type: 'sent', platformMessageId: null });

  constructor(world: OutboundWorld, session: SessionHandle) {
    this.world = world;
    this.session = session;
    const clock = { now: () => world.now, monotonic: () => world.now, setTimer: () => () => undefined };
    const send = async ({ content }: { content: { text?: unknown } }) => {
      this.sent.push(content.text);
      return this.answer();
    };
    this.delivery = new DeliveryLoop({ ...world.world(), ...clock, send }, { newsFrom: 'pokes' });
    const upkeep = new Upkeep({
      sessions: world.sessions,
      runs: {
        state: () => this.run,
        wake: async () => void (this.wakes += 1),
        stop: async () => true,
      },
      messenger: {
        notify: async () => ({ type: 'sent' }),
        ask: async () => ({ type: 'sent' }),
        directAddress: async () => undefined,
      },
      activity: new Activity(),
      modelTroubles: new ModelTroubles(),
      providerOf: async () => 'offline',
      onModelBack: () => undefined,
      rates: world.gate.rates,
      typing: new Typing(new Map()),
      counting: { count: () => undefined },
      noteFinding: () => undefined,
      policy: SWEEP_POLICY,
      retention: { keepMs: 86_400_000 },
      now: clock.now,
      log: pino({ level: 'silent' }),
      onRead: (id, read) => this.delivery.poke(id, read),
      onUnanswered: () => undefined,
    });
    this.sweep = new SessionLoop({
      ...clock,
      visit: async (id, { steadySince }) => ({ type: 'visited', nextAt: await upkeep.visit(id, steadySince) }),
      token: () => undefined,
      onTrouble: (trouble) => {
        throw new Error(JSON.stringify(trouble));
      },
    });
    const { id, folder, reader } = session;
    this.delivery.add({ key: id, folder, reader, inSession: (use) => session.write(use) });
    this.sweep.add(id);
    this.delivery.start();
    this.sweep.start();
  }

  /** Its bell, or an event of the host: what the composition makes of either. Gives the reads that it costs. */
  async poke(): Promise<number> {
    const before = this.world.reads;
    this.sweep.poke(this.session.id);
    await settled();
    return this.world.reads - before;
  }
}

/** As many turns of the event loop as an event takes, each write in one of its own. */
async function settled(): Promise<void> {
  for (let i = 0; i < 25; i += 1) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('the sweep and delivery of one session', () => {
  let world: OutboundWorld;
  let bench: Bench;

  beforeEach(async () => {
    world = await OutboundWorld.make();
    bench = new Bench(world, await world.session('nano'));
    await settled();
  });
  afterEach(async () => {
    await bench.sweep.stop();
    await bench.delivery.stop(0);
    await world[Symbol.asyncDispose]();
  });

  it('read its file once when they begin, and once for a bell that brings a message', async () => {
    expect(world.reads).toBe(1);
    world.row(bench.session, { content: { text: 'hello' } });
    expect(await bench.poke()).toBe(1);
    expect(bench.sent).toEqual(['hello']);
    expect(await bench.poke()).toBe(1);
    expect(bench.sent).toEqual(['hello']);
  });

  it('read it once for each event between a message and its reply', async () => {
    const { session } = bench;
    const id = await world.hear(session, 'm1');
    expect(await bench.poke()).toBe(1);
    expect(bench.wakes).toBe(1);
    const runner = world.runner(session);
    bench.run = { type: 'live', runId: `run-${session.id}`, since: world.now, heartbeatAt: world.now };
    expect(await bench.poke()).toBe(1);
    const claimed = runner.claim(world.now, LIMITS);
    expect(await bench.poke()).toBe(1);
    const claims = claimed.type === 'claimed' ? claimed.claimed.map(({ claim }) => claim) : [];
    const reply = { id: 'r1', kind: 'chat', address: null, inReplyTo: id, content: { text: 'well' } } as const;
    runner.finish(claims, { type: 'completed' }, [reply], world.now);
    expect(await bench.poke()).toBe(1);
    expect(bench.sent).toEqual(['well']);
    expect(session.files.nextDueAt()).toBeUndefined();
  });

  it('do not wait for each other: a bell during a send is swept at once, and its read delivers what it brought', async () => {
    const { promise, resolve } = Promise.withResolvers<SendResult>();
    bench.answer = () => promise;
    world.row(bench.session, { content: { text: 'slow' } });
    expect(await bench.poke()).toBe(1);
    await world.hear(bench.session, 'm1');
    world.row(bench.session, { content: { text: 'next' } });
    expect(await bench.poke()).toBe(1);
    expect(bench.wakes).toBe(1);
    expect(bench.session.files.dueCount(world.now)).toBe(1);
    expect(bench.sent).toEqual(['slow']);
    const before = world.reads;
    resolve({ type: 'sent', platformMessageId: null });
    await settled();
    expect(bench.sent).toEqual(['slow', 'next']);
    expect(world.reads).toBe(before);
  });
});

describe('a whole host', () => {
  it('reads a file once for each message of its agent, and little more', async () => {
    let made: Guard | undefined;
    // A guard needs to know where the sessions are, and the host says so with the first.
    const guardOf = ({ root }: SessionFolder): Guard => {
      const sessions = join(root, '..', '..');
      made ??= testGuard({ sessions, guard: join(sessions, '..', 'guard') });
      return made;
    };
    let reads = 0;
    const counting: OutboundGuard = {
      reader: (folder): OutboundReader => {
        const reader = guardOf(folder).reader(folder);
        return {
          read: (request) => {
            reads += 1;
            return reader.read(request);
          },
        };
      },
      spool: (folder, ...asked) => guardOf(folder).spool(folder, ...asked),
      remove: (folder, ...asked) => guardOf(folder).remove(folder, ...asked),
      report: async () => ({ isClosed: true, sentence: '' }),
    };
    const host = new AttackedHost({ options: { guard: counting } });
    try {
      const folder = await host.start();
      const { shown } = host.whole.platform;
      const [before, shownBefore] = [reads, shown.length];
      for (let i = 1; i <= 20; i += 1) {
        forge(folder, [{ address: ['memory', 'chat-0', null], content: { text: `m${i}` } }]);
        ring(folder.outbound.bell, Date.now());
        await until(() => shown.length === shownBefore + i);
      }
      // 40 would be one for each of the two; some commits are told by a notification and by a poll.
      expect(reads - before).toBeLessThan(40);
    } finally {
      made?.[Symbol.dispose]();
      await host.close();
    }
  });
});
