/**
 * A checker for each number of docs/INVARIANTS.md. Some hold at every moment and are looked at after steps; some hold in
 * the end, when faults have stopped; a few say something that no history can show, and name the test that shows it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { sessionFolder } from '@nanoclaw/session-db';
import { messageFiles } from '@nanoclaw/session-db/protocol';
import { answers, BY_TOOL, captions, LOST_FILE, sentFor } from './agent.ts';
import type { HistoryParts } from './history-parts.ts';
import { type AckRow, HistoryReader, type MessageRow, type OutRow, type Seen, sessionsIn } from './observed-history.ts';
import { PLATFORMS } from './platform.ts';

/** An invariant that did not hold. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}

/** The most attempts at a message, as the host sets them. */
const TRIES_MAX = 5;

/** Remembers one world's history, and throws `InvariantViolation` when what it sees cannot follow from it. */
export class Checker implements Disposable {
  readonly #reader = new HistoryReader();
  readonly #parts: HistoryParts;
  /** Nothing goes wrong: stricter promises hold. */
  readonly #isPrompt: boolean;
  readonly #sessions: Map<string, Remembered>;
  /** When a run was first seen to be dead. */
  readonly #dead: Map<string, number>;
  readonly #shownSeqs: Map<string, number>;
  #shownChecked: number;
  #looks: number;

  constructor(parts: HistoryParts, isPrompt: boolean, memory?: CheckerMemory) {
    this.#parts = parts;
    this.#isPrompt = isPrompt;
    this.#sessions = new Map([...(memory?.sessions ?? [])].map(([session, before]) => [session, before.copy()]));
    this.#dead = new Map(memory?.dead);
    this.#shownSeqs = new Map(memory?.shownSeqs);
    this.#shownChecked = memory?.shownChecked ?? 0;
    this.#looks = memory?.looks ?? 0;
  }

  /** What it has seen until now, for a history that goes on in another world. */
  memory(): CheckerMemory {
    return {
      sessions: new Map([...this.#sessions].map(([session, before]) => [session, before.copy()])),
      dead: new Map(this.#dead),
      shownSeqs: new Map(this.#shownSeqs),
      shownChecked: this.#shownChecked,
      looks: this.#looks,
    };
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }

  /** A file of a session is written to, by a process of this kind. */
  written(path: string, kind: 'host' | 'runner'): void {
    const owner = path.includes('/inbound/') ? 'host' : path.includes('/outbound/') ? 'runner' : kind;
    require('I1', owner === kind, () => `A ${kind} wrote to ${path}.`);
  }

  /** A message is about to be shown: its attempt must be on disk. */
  sends(key: string, attempt: number): void {
    const [session, seq, part] = keyParts(key);
    const root = session === undefined ? undefined : this.#roots().get(session);
    if (root === undefined) return;
    const row = this.#reader.deliveryOf(root, seq, part);
    const isBegun = row !== undefined && row.attempts >= attempt && row.inFlight === 1;
    require('I11', isBegun || row?.status !== 'pending', () =>
      `Attempt ${attempt} of ${key} is made, and the file says ${JSON.stringify(row)}.`);
    require('I11', row !== undefined, () => `${key} is sent, and the file does not know it.`);
  }

  /** A run is killed by the sweep. `steadyMs`: since the clock was last set or the machine slept. */
  killed(session: string, reason: string, steadyMs: number, livedMs: number): void {
    require('I25', steadyMs >= GRACE_MS, () =>
      `${session} was killed (${reason}) ${steadyMs} ms after a jump of the clock.`);
    require('I25', livedMs >= GRACE_MS, () => `${session} was killed (${reason}) when it had lived ${livedMs} ms.`);
  }

  /** Looks at every session. */
  look(): void {
    this.#looks += 1;
    const { runtime, platform } = this.#parts;
    const alive = runtime.alive();
    const perSession = Map.groupBy(alive, (run) => run.sessionId);
    for (const [session, runs] of perSession) {
      require('I15', runs.length === 1, () => `${session} has the runs ${runs.map((run) => run.runId).join(', ')}.`);
    }
    const living = new Set(alive.map((run) => run.runId));
    for (const run of runtime.begun.keys()) {
      if (!living.has(run) && !this.#dead.has(run)) this.#dead.set(run, this.#looks);
    }
    const everywhere: MessageRow[] = [];
    let isComplete = true;
    for (const [session, root] of this.#roots()) {
      const before = this.#sessions.get(session) ?? new Remembered();
      this.#sessions.set(session, before);
      const version = this.#versionOf(root);
      const isNew = version !== before.version;
      const now = isNew ? this.#reader.seen(root) : before.seen;
      before.version = version;
      before.seen = now;
      if (typeof now === 'string') {
        isComplete = isComplete && now === 'absent';
        continue;
      }
      if (isNew) this.#lookAt(session, before, now, living);
      if (this.#isPrompt) this.#lookAtWaits(session, before, now);
      if (this.#isPrompt) this.#lookAtDue(session, before, now, perSession.has(session));
      before.readAt = this.#looks;
      everywhere.push(...now.messages);
    }
    if (isComplete) {
      const counts = Map.groupBy(
        everywhere.filter((message) => message.kind === 'chat'),
        nameOf,
      );
      for (const [id, { message }] of platform.accepted) {
        if (message.text === '/stop') continue;
        const rows = counts.get(id.replace(/^m(\d+)$/, 're[$1]'))?.length ?? 0;
        require('I2', rows > 0, () => `${id} was confirmed, and no session has it.`);
        require('I3', rows === 1, () => `${id} is ${rows} messages.`);
      }
    }
    this.#lookAtShown();
  }

  /** Looks whether the host has taken in what runs have said, at a time when none of them could be of help. */
  takenIn(): void {
    for (const [session, root] of this.#roots()) {
      const now = this.#reader.seenAtRest(root);
      if (typeof now === 'string') continue;
      const taken = new Set(now.deliveries.map((row) => row.seq));
      for (const { seq } of now.outbound?.messages ?? []) {
        require('I19', taken.has(seq), () => `${session}: outbound ${seq} waits for another run to be taken in.`);
      }
    }
  }

  /** Looks for the last time, when faults have stopped and everything has had the time it needs. */
  end(): void {
    this.look();
    const { platform, runtime } = this.#parts;
    require('I17', platform.unconfirmed.length === 0, () =>
      `Never confirmed: ${platform.unconfirmed.map((one) => one.text).join(', ')}.`);
    for (const [session, root] of this.#roots()) {
      const now = this.#reader.seenAtRest(root);
      if (typeof now === 'string') throw new InvariantViolation('I24', `${session} cannot be read in the end: ${now}.`);
      for (const file of ['inbound/inbound.db', 'outbound/outbound.db']) {
        const found = this.#reader.soundness(join(root, file));
        // What a run left in mid-commit was sound in the copy, and waits for its successor.
        require('I24', ['ok', 'absent', 'unreadable'].includes(found), () => `${session}: ${file} is ${found}.`);
      }
      this.#lookAtEnd(session, now, runtime.zombies.size > 0);
      const left = this.#filesLeft(root, now);
      require('I28', left.length === 0, () => `${session}: the files of ${left.join(', ')} are still there.`);
    }
  }

  /** The delivered messages whose files are still somewhere. */
  #filesLeft(root: string, now: Seen): string[] {
    const delivered = now.deliveries.filter((row) => row.status === 'delivered').map((row) => row.seq);
    const { outbound, host } = sessionFolder(root);
    return (now.outbound?.messages ?? [])
      .filter((row) => delivered.includes(row.seq) && row.content.includes('"files":'))
      .filter((row) => [outbound.files, join(host, 'spool')].some((files) => existsSync(messageFiles(files, row.id))))
      .map((row) => row.id);
  }

  /** Whether nothing is left to wait for. */
  isOver(): boolean {
    const { platform, runtime, world } = this.#parts;
    if (platform.unconfirmed.length > 0 || runtime.alive().length > 0) return false;
    return [...this.#roots().values()].every((root) => {
      const now = this.#reader.seenAtRest(root);
      if (typeof now === 'string') return now === 'absent';
      const open = now.messages.some(
        (one) => one.status === 'pending' && one.trigger === 1 && one.processAfter <= world.wall('host'),
      );
      const retried = now.messages.some((one) => one.status === 'pending' && one.tries > 0);
      const later = now.messages.some(
        (one) => one.status === 'pending' && one.seriesId !== null && !this.#repeats(now, one),
      );
      const unsent = now.deliveries.some((one) => one.status === 'pending' || one.status === 'scheduled');
      const taken = new Set(now.deliveries.map((one) => one.seq));
      const untaken = now.outbound?.messages.some((one) => !taken.has(one.seq)) ?? false;
      return !open && this.#filesLeft(root, now).length === 0 && !retried && !later && !unsent && !untaken;
    });
  }

  #repeats(now: Seen, message: MessageRow): boolean {
    const series = now.series.find((one) => one.id === message.seriesId);
    return series !== undefined && series.recurrence !== null;
  }

  #roots(): ReadonlyMap<string, string> {
    return sessionsIn(this.#parts.world.folder);
  }

  #lookAt(session: string, before: Remembered, now: Seen, living: ReadonlySet<string>): void {
    const acks = new Map<string, AckRow>();
    for (const ack of now.outbound?.acks ?? []) acks.set(`${ack.messageId}#${ack.attempt}`, ack);
    this.#lookAtAcks(session, before, now);
    for (const message of now.messages) this.#lookAtMessage(session, before, message, acks, living);
    this.#lookAtNumbers(session, before, now);
    this.#lookAtOutbound(session, before, now, acks);
    this.#lookAtDeliveries(session, before, now);
    this.#lookAtSeries(session, now);
  }

  /** Changes with every commit to one of a session's files. */
  #versionOf(root: string): string {
    const { world } = this.#parts;
    return `${world.version(join(root, 'inbound/inbound.db'))}/${world.version(join(root, 'outbound/outbound.db'))}`;
  }

  #lookAtAcks(session: string, before: Remembered, now: Seen): void {
    const { runtime } = this.#parts;
    for (const ack of now.outbound?.acks ?? []) {
      const key = `${ack.messageId}#${ack.attempt}`;
      const known = before.claims.get(key);
      require('I5', known === undefined || known.runId === ack.runId, () =>
        `${session}: ${key} was of ${known?.runId} and is of ${ack.runId}.`);
      if (known === undefined) {
        const deadSince = this.#dead.get(ack.runId);
        require('I10', deadSince === undefined || before.readAt === undefined || deadSince > before.readAt, () =>
          `${session}: ${ack.runId} claimed ${key} after its end.`);
        require('I10', runtime.begun.get(ack.runId) === session, () =>
          `${session}: ${key} is claimed by ${ack.runId}, which is not its run.`);
      }
      if (known !== undefined && known.status !== 'processing') {
        require('I9', known.status === ack.status, () =>
          `${session}: ${key} was ${known.status} and is ${ack.status}.`);
      }
      before.claims.set(key, ack);
    }
  }

  #lookAtMessage(
    session: string,
    before: Remembered,
    message: MessageRow,
    acks: ReadonlyMap<string, AckRow>,
    living: ReadonlySet<string>,
  ): void {
    const { id, tries, triesBefore, status } = message;
    const last = before.messages.get(id);
    const isAnew = last !== undefined && last.seq !== message.seq && before.mayBeTakenBack(id);
    const known = isAnew ? undefined : last;
    before.messages.set(id, message);
    const name = `${session}: ${id}`;
    if (known !== undefined) {
      const hadEnded = known.status !== 'pending' && known.status !== 'paused';
      require('I9', !hadEnded || known.status === status, () => `${name} was ${known.status} and is ${status}.`);
      require('I9', !hadEnded || known.tries === tries, () =>
        `${name} ended with ${known.tries} tries and has ${tries}.`);
      require('I18', tries >= known.tries, () => `${name} had ${known.tries} tries and has ${tries}.`);
      require('I4', known.seq === message.seq, () => `${name} had number ${known.seq} and has ${message.seq}.`);
    }
    const spent = tries - triesBefore;
    require('I18', spent <= TRIES_MAX, () => `${name} has spent ${spent} tries.`);
    require('I18', status !== 'failed' || spent === TRIES_MAX, () => `${name} was given up after ${spent} tries.`);
    let deferrals = known?.triesBefore ?? 0;
    for (let attempt = (known?.tries ?? 0) + 1; attempt <= tries; attempt++) {
      const ack = acks.get(`${id}#${attempt}`) ?? before.claims.get(`${id}#${attempt}`);
      require('I6', ack !== undefined, () => `${name} paid for attempt ${attempt}, which no run has claimed.`);
      const isOpen = ack?.status === 'processing';
      require('I7', !isOpen || !living.has(ack.runId), () =>
        `${name} paid for attempt ${attempt}, and ${ack?.runId} is alive.`);
      if (ack?.status === 'deferred') deferrals += 1;
    }
    require('I31', triesBefore === deferrals, () =>
      `${name} was deferred ${deferrals} times, and ${triesBefore} of its ${tries} tries do not count.`);
    if (status === 'completed' && known?.status !== 'completed') {
      const ack = acks.get(`${id}#${tries}`);
      require('I8', ack?.status === 'completed', () =>
        `${name} is completed, and its last attempt says ${ack?.status}.`);
    }
  }

  #lookAtNumbers(session: string, before: Remembered, now: Seen): void {
    const given = [
      ...now.messages.map(({ seq, id }) => ({ seq, id, parity: 0 })),
      ...(now.outbound?.messages ?? []).map(({ seq, id }) => ({ seq, id, parity: 1 })),
    ];
    const present = new Map(given.map((one) => [one.seq, one.id]));
    for (const [seq, id] of before.numbers) {
      if (present.get(seq) === id) continue;
      // Nothing is so old in a simulated history that it may be forgotten.
      require('I22', before.mayBeTakenBack(id), () => `${session}: ${id}, number ${seq}, is gone.`);
      before.numbers.delete(seq);
      if (before.messages.get(id)?.seq === seq) before.messages.delete(id);
    }
    for (const { seq, id, parity } of given) {
      const known = before.numbers.get(seq);
      require('I4', seq % 2 === parity, () => `${session}: ${id} has number ${seq}.`);
      require('I4', known === undefined || known === id, () => `${session}: ${seq} was ${known} and is ${id}.`);
      const isAbove = known !== undefined || parity === 1 || seq > before.taken;
      require('I4', isAbove, () => `${session}: ${id} is ${seq}, and the host had taken in ${before.taken}.`);
      before.numbers.set(seq, id);
    }
    before.taken = now.taken;
  }

  /** Where nothing goes wrong, what is due does not lie about while a run is there that could take it. */
  #lookAtDue(session: string, before: Remembered, now: Seen, hasRun: boolean): void {
    const { world } = this.#parts;
    const claimed = new Set((now.outbound?.acks ?? []).map((ack) => `${ack.messageId}#${ack.attempt}`));
    const due = now.messages.filter(
      (one) =>
        one.status === 'pending' &&
        one.trigger === 1 &&
        one.processAfter <= world.wall('runner') &&
        !claimed.has(`${one.id}#${one.tries + 1}`),
    );
    const isWaiting = hasRun && due.length > 0;
    before.dueSince = isWaiting ? (before.dueSince ?? world.time) : undefined;
    require('I29', world.time - (before.dueSince ?? world.time) <= DUE_MAX_MS, () =>
      `${session}: ${due.map((one) => one.id).join(', ')} is due, and its run takes nothing.`);
  }

  /** Where nothing but the clock goes wrong, nothing waits longer than it was to for a time that a wrong clock gave it. */
  #lookAtWaits(session: string, before: Remembered, now: Seen): void {
    const { world } = this.#parts;
    const wall = world.wall('host');
    const late = [
      ...now.messages.map((one) => ({ name: one.id, at: one.processAfter, ...one })),
      ...now.deliveries.map((one) => ({ name: `outbound ${one.seq}`, at: one.nextAttemptAt, ...one })),
    ].filter(({ status, at, waitMs }) => status === 'pending' && waitMs !== null && at > wall + waitMs);
    before.lateSince = late.length > 0 ? (before.lateSince ?? world.time) : undefined;
    require('I30', world.time - (before.lateSince ?? world.time) <= DUE_MAX_MS, () =>
      `${session}: ${late.map(({ name }) => name).join(', ')} waits for a time that the clock had once.`);
  }

  #lookAtOutbound(session: string, before: Remembered, now: Seen, acks: ReadonlyMap<string, AckRow>): void {
    const completed = new Set(
      [...acks.values()].filter((ack) => ack.status === 'completed').map((ack) => `${ack.runId}/${ack.messageId}`),
    );
    const messages = new Map(now.messages.map((message) => [nameOf(message), message]));
    for (const row of now.outbound?.messages ?? []) {
      if (before.outbound.has(row.seq)) continue;
      before.outbound.add(row.seq);
      require('I28', !textOf(row).includes(LOST_FILE), () => `${session}: ${textOf(row)}.`);
      const effect = effectOf(row);
      if (effect !== undefined) {
        require('I20', !before.effects.has(effect) || this.#parts.runtime.zombies.size > 0, () =>
          `${session}: ${effect} was done, and outbound ${row.seq} does it again.`);
        before.effects.add(effect);
      }
      for (const answer of answers(textOf(row))) {
        const message = messages.get(answer);
        require('I8', message !== undefined && completed.has(`${row.runId}/${message.id}`), () =>
          `${session}: ${row.runId} says ${answer}, and has not ended that claim.`);
        const others = before.answers.get(answer) ?? 0;
        before.answers.set(answer, others + 1);
        require('I20', others === 0 || this.#parts.runtime.zombies.size > 0, () =>
          `${session}: ${answer} is answered ${others + 1} times.`);
      }
    }
  }

  #lookAtDeliveries(session: string, before: Remembered, now: Seen): void {
    const shown = new Set(this.#parts.platform.shown.map((one) => one.key));
    for (const row of now.deliveries) {
      const key = `${session}/${row.seq}/${row.part}`;
      const known = before.deliveries.get(key);
      before.deliveries.set(key, row.status);
      const hasEnded = known === 'delivered' || known === 'discarded' || known === 'failed';
      require('I9', !hasEnded || row.status === known, () => `${key} was ${known} and is ${row.status}.`);
      if (row.status === 'delivered' && known !== 'delivered' && row.lane !== 'host') {
        require('I21', shown.has(key), () => `${key} is recorded as delivered, and it is not to be seen.`);
      }
    }
  }

  #lookAtSeries(session: string, now: Seen): void {
    const slots = new Set<string>();
    const open = new Map<string, number>();
    for (const { seriesId, slot, status } of now.messages) {
      if (seriesId === null) continue;
      const key = `${seriesId}@${slot}`;
      require('I23', !slots.has(key), () => `${session}: the slot ${key} was written twice.`);
      slots.add(key);
      if (status === 'pending' || status === 'paused') open.set(seriesId, (open.get(seriesId) ?? 0) + 1);
    }
    for (const [seriesId, count] of open) {
      const series = now.series.find((one) => one.id === seriesId);
      require('I23', count === 1 || series?.overlap === 'allow', () =>
        `${session}: ${seriesId} has ${count} open occurrences.`);
    }
    for (const series of now.series) {
      const stands = (open.get(series.id) ?? 0) > 0 || series.nextSlot !== null || series.owed !== '[]';
      require('I23', series.status !== 'active' || stands, () =>
        `${session}: ${series.id} is active, and will never run again.`);
      const last = now.messages.findLast(
        ({ seriesId, status }) => seriesId === series.id && (status === 'completed' || status === 'failed'),
      );
      require('I23', last?.status !== 'completed' || series.failures === 0 || series.overlap === 'allow', () =>
        `${session}: ${series.id} counts ${series.failures} failures in a row, and ${last?.id} went well.`);
      require('I23', series.status !== 'ended' || series.recurrence === null, () =>
        `${session}: ${series.id} repeats for ever, and has ended.`);
    }
  }

  #lookAtShown(): void {
    const { platform } = this.#parts;
    for (const one of platform.shown.slice(this.#shownChecked)) {
      this.#shownChecked += 1;
      for (const number of captions(one.text)) {
        const isWhole = one.files.length === 1 && one.files[0]?.content === sentFor(number);
        require('I28', isWhole, () => `${one.key} is shown with ${JSON.stringify(one.files)}.`);
      }
      const [session, seq, part] = keyParts(one.key);
      if (session === undefined || !this.#roots().has(session)) continue;
      const earlier = platform.shown.slice(0, this.#shownChecked - 1);
      const isAgain = earlier.some((other) => other.key === one.key);
      if (isAgain) {
        const can = PLATFORMS.get(one.address.channelType);
        const isKnown = can === 'none' && one.uncertain;
        // A platform that shows minutes late looks in vain, and shows what it was asked for meanwhile.
        const isLate = can !== 'key' && platform.hasShownLate;
        require('I20', isKnown || isLate, () => `${one.key} is shown twice.`);
        continue;
      }
      const lane = `${session} ${JSON.stringify(one.address)}`;
      const last = this.#shownSeqs.get(lane) ?? 0;
      const number = seq * 1_000 + part;
      // What is shown minutes late, by a platform that had stopped answering, has lost its place.
      require('I12', number > last || platform.hasShownLate, () => `${one.key} is shown after ${last / 1_000}.`);
      this.#shownSeqs.set(lane, Math.max(last, number));
    }
  }

  #lookAtEnd(session: string, now: Seen, hadZombies: boolean): void {
    const wall = this.#parts.world.wall('host');
    const stopped = now.messages.filter((one) => one.kind === 'command').map((one) => one.seq);
    const said = new Set((now.outbound?.messages ?? []).flatMap((row) => answersAnyhow(textOf(row))));
    for (const message of now.messages) {
      const name = `${session}: ${message.id} (${message.content.slice(0, 60)})`;
      const isOpen = message.status === 'pending' || message.status === 'paused';
      const waits = message.seriesId !== null && message.processAfter > wall;
      require('I17', !isOpen || waits || message.trigger === 0, () =>
        `${name} is still ${message.status} after ${message.tries} tries.`);
      const isAsked = message.kind === 'chat' || message.kind === 'task';
      if (message.status !== 'completed' || !isAsked) continue;
      const wasStopped = stopped.some((seq) => seq > message.seq);
      const isSkipped = message.content.includes('"script":"skips"');
      const isAnswered = said.has(nameOf(message)) || wasStopped || isSkipped;
      require('I20', isAnswered, () => `${name} is completed, and was never answered.`);
    }
    const rows = Map.groupBy(now.deliveries, (row) => row.seq);
    const shown = Map.groupBy(this.#parts.platform.shown, (one) => one.key);
    for (const row of now.outbound?.messages ?? []) {
      const own = rows.get(row.seq) ?? [];
      require('I19', own.length > 0, () => `${session}: outbound ${row.seq} was never taken in.`);
      for (const { part, status, error } of own) {
        const hasEnded = status === 'delivered' || status === 'failed' || status === 'discarded';
        require('I19', hasEnded, () => `${session}: outbound ${row.seq} is still ${status} (${error}).`);
        const count = shown.get(`${session}/${row.seq}/${part}`)?.length ?? 0;
        const isKeyed = own[0]?.channelType === 'terminal';
        if (status === 'delivered' && isKeyed) {
          require('I20', count === 1 || hadZombies, () => `${session}: outbound ${row.seq} is shown ${count} times.`);
        }
      }
    }
  }
}

/** Longer than a bell that was not heard is made up for. */
const DUE_MAX_MS = 60_000;
/** As the sweep's policy has it. */
const GRACE_MS = 60_000;

/** What a checker knows. */
export interface CheckerMemory {
  readonly sessions: ReadonlyMap<string, Remembered>;
  readonly dead: ReadonlyMap<string, number>;
  readonly shownSeqs: ReadonlyMap<string, number>;
  readonly shownChecked: number;
  readonly looks: number;
}

/** What was seen of one session. */
class Remembered {
  /** The number of the last look at which its files could be read. */
  readAt: number | undefined;
  /** Of the files, at the last look, and what they then said. */
  version = '';
  seen: Seen | 'absent' | 'unreadable' = 'absent';
  readonly messages = new Map<string, MessageRow>();
  readonly claims = new Map<string, AckRow>();
  readonly numbers = new Map<number, string>();
  readonly outbound = new Set<number>();
  readonly answers = new Map<string, number>();
  readonly deliveries = new Map<string, string>();
  /** The highest of the runner's numbers that the host had taken in. */
  taken = 0;
  /** Since when something has been due that no run has taken. */
  dueSince: number | undefined;
  /** Since when something has waited for longer than it was to. */
  lateSince: number | undefined;
  /** What turns have done before their end. */
  readonly effects = new Set<string>();

  /**
   * An occurrence that was written ahead of its time, and that no run has taken, is taken back when the clock is set back;
   * its slot may be written again, under another number.
   */
  mayBeTakenBack(id: string): boolean {
    return (this.messages.get(id)?.seriesId ?? null) !== null && !this.claims.has(`${id}#1`);
  }

  /** The same, for a world in which the files are others. */
  copy(): Remembered {
    const copy = new Remembered();
    copy.readAt = this.readAt;
    copy.taken = this.taken;
    for (const [key, value] of this.messages) copy.messages.set(key, value);
    for (const [key, value] of this.claims) copy.claims.set(key, value);
    for (const [key, value] of this.numbers) copy.numbers.set(key, value);
    for (const seq of this.outbound) copy.outbound.add(seq);
    for (const [key, value] of this.answers) copy.answers.set(key, value);
    for (const [key, value] of this.deliveries) copy.deliveries.set(key, value);
    for (const effect of this.effects) copy.effects.add(effect);
    return copy;
  }
}

function require(invariant: string, holds: boolean, otherwise: () => string): asserts holds {
  if (!holds) throw new InvariantViolation(invariant, otherwise());
}

/** What a delivery's key names; no session for the key of what the host says in its own name. */
function keyParts(key: string): [session: string | undefined, seq: number, part: number] {
  const [, session, seq, part] = /^([^/]+)\/(\d+)\/(\d+)(?:\/\d+)?$/.exec(key) ?? [];
  return [session, Number(seq), Number(part)];
}

/** What a turn has done with a tool; each says it once. */
function effectOf({ kind, content }: OutRow): string | undefined {
  const { action, prompt, text }: { action?: string; prompt?: string; text?: string } = JSON.parse(content);
  if (kind === 'system') return `${action} ${prompt}`;
  return text?.startsWith(BY_TOOL) ? text : undefined;
}

/** What an answer to a message says. */
function nameOf(message: MessageRow): string {
  if (message.kind === 'task') return `did[${message.id}]`;
  const [, number] = /"text":"\[(\d+)\]/.exec(message.content) ?? [];
  return number === undefined ? message.id : `re[${number}]`;
}

function textOf(row: OutRow): string {
  const content: unknown = JSON.parse(row.content);
  return typeof content === 'object' && content !== null && 'text' in content && typeof content.text === 'string'
    ? content.text
    : '';
}

function answersAnyhow(text: string): string[] {
  return text.match(/(re|did)\[[^\]]+\]/g) ?? [];
}
