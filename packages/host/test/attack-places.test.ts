/** Agents that take places, say that they get on, and end nothing: what is left for others, and who has to go (failure 70). */
import { openRegistry } from '@nanoclaw/registry';
import { type Claimed, inboundFolder, isBusy, outboundFolder, RunnerSession, runId } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { StandInHome } from './stand-in-driver.ts';
import type { StandInPlace } from './stand-in-run.ts';
import { setTimer as realTimer, until, untilSteady, WholeHost } from './whole-host.ts';

/** Agents that answer what they have claimed and leave, unless they are to hold it: then they say without end that they get on. */
class Holders implements StandInHome {
  readonly #leaving = new Map<string, () => void>();
  readonly #held = new Set<string>();

  /** How many hold something just now. */
  get held(): number {
    return this.#held.size;
  }

  begin({ runId: id, inbound, outbound }: StandInPlace, onLeft: () => void): void {
    const folders = { inbound: inboundFolder(inbound), outbound: outboundFolder(outbound) };
    const handshake = { runId: runId(id), runnerVersion: 'holder', provider: 'holder' };
    const session = RunnerSession.open(folders, openSqlite, handshake, Date.now());
    const [claimed] = claimedBy(session);
    const isHolding = claimed?.type === 'message' && claimed.message.content['text'] === HOLD;
    if (isHolding) this.#held.add(id);
    const work = setInterval(() => {
      whileNobodyReads(() => {
        if (isHolding) session.progress([], Date.now());
        else if (claimed?.type !== 'message' || answer(session, id, claimed)) this.leave(id);
      });
    }, 20);
    this.#leaving.set(id, () => {
      clearInterval(work);
      this.#held.delete(id);
      session[Symbol.dispose]();
      onLeft();
    });
  }

  leave(id: string): void {
    this.#leaving.get(id)?.();
    this.#leaving.delete(id);
  }

  close(): void {
    for (const id of this.#leaving.keys()) this.leave(id);
  }
}

const HOLD = 'hold it';

function claimedBy(session: RunnerSession): readonly Claimed[] {
  const result = session.claim(Date.now(), { work: 1, control: 0, context: 0 });
  return result.type === 'claimed' ? result.claimed : [];
}

function answer(session: RunnerSession, run: string, { claim, message }: Extract<Claimed, { type: 'message' }>): true {
  const { id: inReplyTo, address } = message;
  const reply = { id: `${run}/reply`, kind: 'chat', address, inReplyTo, content: { text: 'heard' } } as const;
  session.finish([claim], { type: 'completed' }, [reply], Date.now());
  return true;
}

function whileNobodyReads(write: () => void): void {
  try {
    write();
  } catch (error) {
    if (!isBusy(error)) throw error;
  }
}

let agents: Holders;
let log: string[];
let whole: WholeHost;
beforeEach(() => {
  agents = new Holders();
  log = [];
});
afterEach(() => whole.close());

/** A host whose waits pass twenty times faster. */
async function started(settings: { runsMax: number; placeMaxMs: number }, chats: number): Promise<void> {
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });
  const clock = { now: () => Date.now(), setTimer: (ms: number, act: () => void) => realTimer(ms / 20, act) };
  whole = new WholeHost({
    settings,
    agents,
    options: { ports: { clock }, log: { logger, rotate: () => undefined } },
  });
  await whole.wire(chats);
}

/** Somebody says something in a chat, and is answered. */
async function isAnswered(chat: number, id: string): Promise<void> {
  const { platform } = whole;
  const answers = () => platform.shown.filter(({ address }) => address.platformId === `chat-${chat}`).length;
  const before = answers();
  await whole.say(chat, id, 'and what about me?');
  await until(() => answers() > before);
}

it('one that has ended nothing for long gives its place to a session that waits, whatever it says, and has a name', async () => {
  await started({ runsMax: 1, placeMaxMs: 500 }, 2);
  await whole.host.start();
  await whole.say(0, 'holder', HOLD);
  await until(() => agents.held === 1);
  await isAnswered(1, 'bystander');
  expect(log.some((line) => line.includes('a run has ended nothing for long, and its place is needed'))).toBe(true);
});

it('however many sessions of one agent there are, another agent finds a place', async () => {
  await started({ runsMax: 4, placeMaxMs: 600_000 }, 21);
  await whole.host.start();
  await isAnswered(20, 'before');
  for (let chat = 0; chat < 6; chat += 1) await whole.say(chat, 'holder', HOLD);
  await until(() => agents.held >= 3);
  await untilSteady(() => agents.held);
  expect(agents.held).toBe(3);
  await isAnswered(20, 'bystander');
});

it('however many sessions of one chat there are, another chat finds a place', async () => {
  await started({ runsMax: 4, placeMaxMs: 600_000 }, 2);
  await sessionsPerThread();
  await whole.host.start();
  await isAnswered(1, 'before');
  for (let thread = 0; thread < 6; thread += 1) await sayInThread(`thread-${thread}`);
  await until(() => agents.held >= 2);
  await untilSteady(() => agents.held);
  expect(agents.held).toBe(2);
  await isAnswered(1, 'bystander');
});

/** Gives each thread of every chat a session of its own. */
async function sessionsPerThread(): Promise<void> {
  const options = { file: whole.data.registry, now: () => Date.now(), newId: () => 'unused' };
  await using registry = await openRegistry(options);
  for (const { id } of await registry.wirings()) await registry.updateWiring(id, { sessionMode: 'per-thread' });
}

async function sayInThread(threadId: string): Promise<void> {
  await whole.platform.say({
    kind: 'message',
    platformMessageId: `in ${threadId}`,
    address: { channelType: 'memory', platformId: 'chat-0', threadId },
    sender: { id: 'person-0', name: 'Person 0' },
    text: HOLD,
    files: [],
    timestamp: Date.now(),
    isMention: true,
    isDirect: true,
  });
}
