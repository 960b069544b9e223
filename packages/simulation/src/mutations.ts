/**
 * Deliberate mistakes, each of which the simulation must find. A mistake that it does not find is a gap in it.
 */
import type { Edit } from './loader.ts';

export interface Mutation {
  readonly name: string;
  readonly edits: readonly Edit[];
  /**
   * Where it must show: among the first so many seeds, or crash points of one history. With some room over where it does,
   * because whatever is changed in the code moves that.
   */
  readonly within:
    | { readonly type: 'seeds'; readonly count: number }
    | { readonly type: 'crashes'; readonly count: number; readonly history: number };
}

const LIFECYCLE = 'packages/session-db/src/lifecycle.ts';
const HOST_SESSION = 'packages/session-db/src/host-session.ts';
const RUNNER_SESSION = 'packages/session-db/src/runner-session.ts';
const DELIVERIES = 'packages/session-db/src/deliveries.ts';
const DELIVER = 'packages/delivery/src/deliver.ts';
const RUNNER = 'packages/runner/src/runner.ts';
const SWEEP = 'packages/sweep/src/sweep.ts';
const VERDICT = 'packages/sweep/src/verdict.ts';
const OCCURRENCES = 'packages/sweep/src/occurrences.ts';
const RUNS = 'packages/host/src/runs/runs.ts';
const INBOUND = 'packages/host/src/inbound/receive.ts';
const RECEIVED = 'packages/host/src/session/received.ts';
const OUTBOUND = 'packages/host/src/outbound/outbound.ts';
const ATTACHMENTS = 'packages/session-db/src/attachments.ts';

const seeds = (count: number): Mutation['within'] => ({ type: 'seeds', count });
const crashesOf = (history: number, count: number): Mutation['within'] => ({ type: 'crashes', count, history });

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'settle adds instead of sets',
    edits: [
      { file: LIFECYCLE, find: 'if (ack.attempt !== message.tries + 1) return undefined;', replace: '' },
      {
        file: HOST_SESSION,
        find: '`UPDATE messages_in SET tries = :attempt, process_after = :at, wait_ms = :waitMs, error = :error,\n             ${NOT_DEFERRED} ${guard}`',
        replace:
          '`UPDATE messages_in SET tries = tries + 1 + 0 * :attempt, process_after = :at, wait_ms = :waitMs, error = :error WHERE id = :id`',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a deferral spends a try',
    edits: [{ file: LIFECYCLE, find: 'triesBefore: triesBefore + 1,', replace: 'triesBefore,' }],
    within: seeds(20),
  },
  {
    name: 'ack before reply',
    edits: [
      {
        file: RUNNER_SESSION,
        find: 'const seqs = inTransaction(this.#db, () => {\n      for (const claim of claims) this.#setAck(claim, outcome, now);',
        replace:
          'inTransaction(this.#db, () => {\n      for (const claim of claims) this.#setAck(claim, outcome, now); });\n    const seqs = inTransaction(this.#db, () => {',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'reply before ack',
    edits: [
      {
        file: RUNNER_SESSION,
        find: 'const seqs = inTransaction(this.#db, () => {\n      for (const claim of claims) this.#setAck(claim, outcome, now);\n      if (turn) this.#insertTurn(turn);\n      return replies.map((reply) => this.#insert(reply, now).seq);\n    });',
        replace:
          'const seqs = inTransaction(this.#db, () => replies.map((reply) => this.#insert(reply, now).seq));\n    inTransaction(this.#db, () => {\n      for (const claim of claims) this.#setAck(claim, outcome, now);\n      if (turn) this.#insertTurn(turn);\n    });',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'confirm before begin',
    edits: [
      {
        file: DELIVERIES,
        find: 'SET attempts = :attempt, uncertain = max(uncertain, in_flight), in_flight = 1, next_attempt_at = :at',
        replace:
          "SET attempts = :attempt, uncertain = max(uncertain, in_flight), in_flight = 0, next_attempt_at = :at, status = 'delivered', settled_at = :at",
      },
    ],
    within: seeds(20),
  },
  {
    name: 'send before begin is on disk',
    edits: [
      {
        file: DELIVERIES,
        find: 'const begun = this.#db.all<{ uncertain: number; generation: number }>(BEGIN, {\n          seq,\n          part,\n          attempt,\n          at: now + waitMs,\n          waitMs,\n        })[0];',
        replace:
          'const begun: { uncertain: number; generation: number } | undefined = { uncertain: 0, generation: 0 }; void BEGIN;',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'limit before filter',
    edits: [
      {
        file: RUNNER_SESSION,
        find: 'if (page.length < PAGE || last === undefined) break;',
        replace: 'if (last !== undefined) break;',
      },
      { file: RUNNER_SESSION, find: 'const PAGE = 50;', replace: 'const PAGE = 1;' },
    ],
    within: seeds(20),
  },
  {
    name: 'rescue on age',
    edits: [
      {
        file: LIFECYCLE,
        find: "if (ack.status === 'processing' && ack.runId === liveRunId) return undefined;",
        replace: "if (ack.status === 'processing' && now - ack.statusChanged < 10_000) return undefined;",
      },
      {
        file: SWEEP,
        find: "read.openClaims.filter((ack) => run.type === 'none' || ack.runId !== run.runId)",
        replace: 'read.openClaims',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'text times',
    edits: [
      {
        file: HOST_SESSION,
        find: 'processAfter: message.processAfter ?? now,',
        replace:
          'processAfter: Date.parse(new Date(message.processAfter ?? now).toISOString().slice(0, 10)) + 86_400_000,',
      },
      // With a wait beside it the time would be cut to that.
      { file: HOST_SESSION, find: 'waitMs: message.processAfter === undefined ? 0 : null,', replace: 'waitMs: null,' },
    ],
    within: seeds(20),
  },
  {
    name: 'dead run is never charged',
    edits: [
      {
        file: LIFECYCLE,
        find: "if (ack.status === 'processing' && ack.runId === liveRunId) return undefined;",
        replace: "if (ack.status === 'processing') return undefined;",
      },
    ],
    within: seeds(20),
  },
  {
    name: 'claims of the next run are charged',
    edits: [
      {
        file: LIFECYCLE,
        find: "if (ack.status === 'processing' && ack.runId === liveRunId) return undefined;",
        replace: '',
      },
      {
        file: SWEEP,
        find: "read.openClaims.filter((ack) => run.type === 'none' || ack.runId !== run.runId)",
        replace: 'read.openClaims',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a fenced run goes on',
    edits: [
      {
        file: RUNNER_SESSION,
        find: "if (liveRunId !== this.runId) return { type: 'fenced', liveRunId };",
        replace: '',
      },
    ],
    within: seeds(60),
  },
  {
    name: 'the host counts in ones',
    edits: [{ file: HOST_SESSION, find: 'highest + 2 - highest % 2, :id', replace: 'highest + 1, :id' }],
    within: seeds(10),
  },
  {
    name: 'the host numbers above its own only',
    edits: [
      { file: HOST_SESSION, find: 'messages_taken) AS highest FROM', replace: '0 * messages_taken) AS highest FROM' },
    ],
    within: seeds(20),
  },
  {
    name: 'confirmed before it is written',
    edits: [
      {
        file: INBOUND,
        find: 'files.enqueue(inboundMessage(message, trigger, attachments), now());',
        replace:
          'setImmediate(() => { try { files.enqueue(inboundMessage(message, trigger, attachments), now()); } catch (error) { void error; } });',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'duplicate platform ids are two messages',
    edits: [
      {
        file: RECEIVED,
        find: 'const id = `${addressPrefix(address)}${platformMessageId}`;',
        replace: 'const id = `${addressPrefix(address)}${platformMessageId}/${++copies.count}`;',
      },
      {
        file: RECEIVED,
        find: 'import type { Address, Attachment',
        replace: 'const copies = { count: 0 };\nimport type { Address, Attachment',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'offline counts as sent',
    edits: [
      {
        file: LIFECYCLE,
        find: "return { ...again, spent: false, nextAttemptAt: now + OFFLINE_RETRY_MS, error: 'The channel was offline.' };",
        replace: "return { to: 'delivered', platformMessageId: null };",
      },
    ],
    within: seeds(40),
  },
  {
    name: 'a lost answer counts as failed for good',
    edits: [
      {
        file: LIFECYCLE,
        find: "if (row.whenUncertain === 'hold' || tries >= policy.triesMax) return { to: 'failed', uncertain: true, error };",
        replace: "if (row.whenUncertain === 'again') return { to: 'delivered', platformMessageId: null };",
      },
    ],
    within: seeds(40),
  },
  {
    name: 'retries forget their place in the lane',
    edits: [
      {
        file: DELIVERIES,
        find: "WHERE status = 'pending' AND lane = :lane ORDER BY seq, part LIMIT 1`;",
        replace: "WHERE status = 'pending' AND lane = :lane ORDER BY next_attempt_at, seq, part LIMIT 1`;",
      },
    ],
    within: seeds(40),
  },
  {
    name: 'no new key for each attempt',
    edits: [
      {
        file: DELIVER,
        find: 'key: attemptKey(this.#session.key, attempt),',
        replace: 'key: attemptKey(this.#session.key, { ...attempt, generation: attempt.attempt - 1 }),',
      },
    ],
    within: seeds(40),
  },
  {
    name: 'a hot journal is not recovered',
    edits: [
      {
        file: 'packages/session-db/src/untrusted.ts',
        find: 'request.runEnded === true ? readRecovered(request) : read',
        replace: 'request === undefined ? readRecovered(request) : read',
      },
    ],
    within: crashesOf(1, 600),
  },
  {
    name: 'a provider error completes',
    edits: [
      {
        file: RUNNER,
        find: 'return { outcome: failure(turn, ending), texts: [] };',
        replace: "return { outcome: { type: 'completed' }, texts: [] };",
      },
    ],
    within: seeds(20),
  },
  {
    name: 'no grace after a jump of the clock',
    edits: [
      {
        file: VERDICT,
        find: "if (now - from < policy.graceMs) return { type: 'nothing', reason: 'grace', until: from + policy.graceMs };",
        replace: '',
      },
      {
        file: VERDICT,
        find: 'const from = since > now ? options.steadySince : Math.max(since, options.steadySince);',
        replace: 'const from = since;',
      },
    ],
    within: seeds(120),
  },
  {
    name: 'an occurrence ends its series',
    edits: [
      {
        file: OCCURRENCES,
        find: 'nextSlot: passes ? slotAfter(series, now) : series.nextSlot,',
        replace: 'nextSlot: passes ? null : series.nextSlot,',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'retries wait for ever',
    edits: [
      {
        file: LIFECYCLE,
        find: "return { ...of, to: 'retry', processAfter: now + backoffMs(tries, policy), error };",
        replace: "return { ...of, to: 'retry', processAfter: now + backoffMs(tries, policy) * 1e6, error };",
      },
      { file: SWEEP, find: 'session.cutWaits(now);', replace: '' },
    ],
    within: seeds(20),
  },
  {
    name: 'what a clock that was ahead has put off stays so',
    edits: [{ file: SWEEP, find: 'session.cutWaits(now);', replace: '' }],
    within: seeds(130),
  },
  {
    name: 'a delivery that a clock that was ahead has put off stays so',
    edits: [
      {
        file: DELIVERIES,
        find: 'next_attempt_at = :now + wait_ms WHERE',
        replace: 'next_attempt_at = next_attempt_at WHERE',
      },
    ],
    within: seeds(130),
  },
  {
    name: 'failures in a row are never forgotten',
    edits: [
      {
        file: OCCURRENCES,
        find: "to === 'failed' ? series.failures + 1 : 0;",
        replace: "series.failures + (to === 'failed' ? 1 : 0);",
      },
    ],
    within: seeds(50),
  },
  {
    name: 'a later attempt does everything again',
    edits: [{ file: RUNNER_SESSION, find: '(effect && this.#acted(effect)) ??', replace: '' }],
    within: seeds(20),
  },
  {
    name: 'a later attempt is not told what was done',
    edits: [
      {
        file: 'packages/runner/src/turn.ts',
        find: 'const done = await this.#recall();',
        replace: 'await this.#recall();\n    const done: DoneEffect[] = [];',
      },
    ],
    within: seeds(40),
  },
  {
    name: 'a tool that has spoken swallows the final text',
    edits: [
      {
        file: 'packages/runner/src/reply.ts',
        find: '!options.said.has(replyKey(reply))',
        replace: '!options.isVisible',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a commit does not outlive a power cut',
    edits: [{ file: 'packages/session-db/src/open.ts', find: "['synchronous', 3],", replace: "['synchronous', 2]," }],
    within: crashesOf(0, 300),
  },
  {
    name: 'nothing is synced',
    edits: [{ file: 'packages/session-db/src/open.ts', find: "['synchronous', 3],", replace: "['synchronous', 0]," }],
    within: crashesOf(0, 300),
  },
  {
    name: 'the directories of a session are not synced',
    edits: [{ file: 'packages/session-db/src/folder.ts', find: '    syncDirectory(parent);\n', replace: '' }],
    within: crashesOf(0, 300),
  },
  {
    name: 'files are not synced',
    edits: [
      {
        file: ATTACHMENTS,
        find: '    await file.sync();\n    await rename',
        replace: '    await rename',
      },
    ],
    within: crashesOf(0, 300),
  },
  {
    name: 'files that the agent sends are not synced',
    edits: [{ file: 'packages/runner/src/files.ts', find: '    await sync(copy);\n', replace: '' }],
    within: crashesOf(8, 400),
  },
  {
    name: 'the directories of files that the agent sends are not synced',
    edits: [
      {
        file: 'packages/runner/src/files.ts',
        find: '  if (copied.length > 0) for (const directory of [folder, filesRoot, dirname(filesRoot)]) await sync(directory);\n',
        replace: '  void dirname;\n',
      },
    ],
    within: crashesOf(8, 400),
  },
  {
    name: 'files after the row that names them',
    edits: [
      {
        file: INBOUND,
        find: 'const attachments = await storeAttachments(session.folder, id, filesToStore(message));',
        replace:
          "const attachments = message.files.map(({ name }) => ({ type: 'stored', name, path: '', bytes: 0 }));\n    setImmediate(() => void storeAttachments(session.folder, id, filesToStore(message)).catch(() => undefined));",
      },
    ],
    within: seeds(20),
  },
  {
    name: 'the registry does not outlive a power cut',
    edits: [
      {
        file: 'packages/registry/src/sqlite.ts',
        find: "setPragma(database, 'synchronous', 2);",
        replace: "setPragma(database, 'synchronous', 1);",
      },
    ],
    within: crashesOf(0, 100),
  },
  {
    name: 'rate limits in a file that a power cut tears',
    edits: [
      {
        file: 'packages/delivery/src/rate-store.ts',
        find: '= WAL; PRAGMA synchronous = NORMAL',
        replace: '= DELETE; PRAGMA synchronous = OFF',
      },
    ],
    within: crashesOf(0, 100),
  },
  {
    name: 'files stay when their message has been delivered',
    edits: [
      {
        file: OUTBOUND,
        find: 'const cleansUp = fileNames(message.content).length > 0;',
        replace: 'const cleansUp = fileNames(message.content).length < 0;',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'files are removed with the attempt',
    edits: [
      {
        file: OUTBOUND,
        find: 'const { key, attempt: number, uncertain } = attempt;\n  return channel.send(',
        replace:
          'const { key, attempt: number, uncertain } = attempt;\n  void context.remove(session, message.id);\n  return channel.send(',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a bell that is lost is never made up for',
    edits: [
      {
        file: RUNNER,
        find: 'const isLongAgo = Math.abs(now - this.#lookedAt) >= LOOK_EVERY_MS;',
        replace: 'const isLongAgo = false;',
      },
      {
        file: 'packages/session-db/src/doorbell.ts',
        find: 'setTimer(this.#pollMs, () => this.#look());',
        replace: 'setTimer(this.#pollMs, () => undefined);',
      },
    ],
    within: seeds(60),
  },
  {
    name: 'two wakes start two runs',
    edits: [
      {
        file: RUNS,
        find: 'if (this.#underway.has(session.id) || this.#containers.running(session.id)) return;',
        replace: '',
      },
      { file: RUNS, find: 'if (underway) return underway;', replace: 'void underway;' },
      {
        file: 'packages/containers/src/containers.ts',
        find: "    if (slot?.state === 'starting') return slot.started;\n    if (slot?.state === 'live') return slot.run;\n",
        replace: '    void slot;\n',
      },
      {
        file: 'packages/containers/src/containers.ts',
        find: '      if (this.#slots.has(sessionId)) return [];\n',
        replace: '',
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a slot of a series comes twice',
    edits: [
      {
        file: 'packages/session-db/src/series.ts',
        find: 'id: occurrenceId(series.id, slot),',
        replace: 'id: `${occurrenceId(series.id, slot)}/${now}`,',
      },
    ],
    within: seeds(120),
  },
  {
    name: 'a clock that is set back takes an occurrence away from its run',
    edits: [{ file: OCCURRENCES, find: '.filter(({ id }) => !openClaims.has(id))', replace: '' }],
    within: seeds(600),
  },
  {
    name: 'an old claim is settled again',
    edits: [
      {
        file: LIFECYCLE,
        find: "if (message.status !== 'pending' && message.status !== 'paused') return undefined;",
        replace: '',
      },
      { file: LIFECYCLE, find: 'if (ack.attempt !== message.tries + 1) return undefined;', replace: '' },
      {
        file: HOST_SESSION,
        find: '`UPDATE messages_in SET tries = :attempt, process_after = :at, wait_ms = :waitMs, error = :error,\n             ${NOT_DEFERRED} ${guard}`',
        replace:
          "`UPDATE messages_in SET tries = :attempt, process_after = :at, wait_ms = :waitMs, error = :error, status = 'pending', settled_at = NULL WHERE id = :id`",
      },
    ],
    within: seeds(20),
  },
  {
    name: 'a late answer of the guard is believed',
    edits: [
      {
        file: SWEEP,
        find: "if (read.type !== 'read' || sameRun(before, run)) return { run, read };",
        replace: "if (read.type !== 'read' || sameRun(before, before)) return { run, read };",
      },
    ],
    within: seeds(200),
  },
];
