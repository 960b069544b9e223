/** `nanoclaw dead-letters`: messages that were given up, in either direction, until the operator decides about them. */
import type { Session } from '@nanoclaw/registry';
import type { DeadLetter, HostSession, InboundDeadLetter, Millis, SessionView } from '@nanoclaw/session-db';
import { z } from 'zod';
import { isSessionTrouble, Problem } from '../errors/index.ts';
import { argument, type Confine, changes, flag, type OperatorCommand, option, reads } from './command.ts';
import type { WriteContext } from './contexts.ts';
import { sessionNamed } from './lookup.ts';
import { limit, sessionArgument, Text, whole } from './parameters.ts';
import { contentText, withFiles, withUsableFiles } from './sessions.ts';
import { column } from './view.ts';

const DIRECTIONS = ['in', 'out'] as const;
const number = whole(1, Number.MAX_SAFE_INTEGER);
const selection = z.object({
  session: argument(Text.exactOptional(), 'the session; left out, with --all: every session'),
  number: argument(number.exactOptional(), 'the number of the message'),
  all: flag('all dead letters of the session, or of every session'),
});

/** The commands about dead letters. */
export const deadLetterCommands: readonly OperatorCommand[] = [
  reads({
    path: ['dead-letters', 'list'],
    summary: 'list the messages that were given up',
    parameters: z.object({
      session: option(Text.exactOptional(), 'only this session'),
      direction: option(z.enum(DIRECTIONS).exactOptional(), 'in: to the agent; out: from it', { choices: DIRECTIONS }),
      limit: limit(100),
    }),
    agents: 'all',
    view: {
      type: 'table',
      columns: [
        column('SESSION', 'sessionId', 'id'),
        column('NUMBER', 'number'),
        column('DIRECTION', 'direction'),
        column('GIVEN UP', 'settledAt', 'time'),
        column('REASON', 'error'),
        column('TEXT', 'text'),
      ],
      empty: 'There are no dead letters.',
    },
    run: async (context, parameters) => {
      const { session: named, direction, limit: most } = parameters;
      const sessions = named === undefined ? await context.registry.sessions() : [await sessionNamed(context, named)];
      const letters: DeadLetterView[] = [];
      for (const session of sessions) {
        const look = named === undefined ? withUsableFiles : withFiles;
        const own = await look(context, session, ({ files }) => lettersOf(session, files, most));
        letters.push(...(own ?? []).filter((letter) => direction === undefined || letter.direction === direction));
      }
      return letters.toSorted((a, b) => b.settledAt - a.settledAt).slice(0, most);
    },
  }),
  reads({
    path: ['dead-letters', 'show'],
    summary: 'show one message that was given up, in full',
    parameters: z.object({ session: sessionArgument, number: argument(number, 'the number of the message') }),
    agents: 'all',
    view: { type: 'record' },
    run: async (context, parameters) => {
      const session = await sessionNamed(context, parameters.session);
      const found = await withFiles(context, session, ({ files }) => letterOf(files, parameters.number));
      if (found === undefined) throw noLetter(session.id, parameters.number);
      return found.direction === 'in' ? toInboundView(session, found.letter) : toOutboundView(session, found.letter);
    },
  }),
  changes({
    path: ['dead-letters', 'retry'],
    summary: 'retry a message as if it were new',
    parameters: selection,
    agents: ownLetters(),
    view: { type: 'message' },
    run: (context, parameters) => decide(context, parameters, 'retry'),
  }),
  changes({
    path: ['dead-letters', 'discard'],
    summary: 'discard a message for good',
    parameters: selection,
    agents: ownLetters(),
    view: { type: 'message' },
    run: (context, parameters) => decide(context, parameters, 'discard'),
  }),
];

type Selection = z.output<typeof selection>;

/** An agent names a session of its own; all sessions are not its own. */
function ownLetters(): Confine<Selection> {
  return async (parameters, own, context) => {
    if (parameters.session === undefined) return undefined;
    const session = await sessionNamed(context, parameters.session);
    return session.key.agentGroupId === own ? { ...parameters, session: session.id } : undefined;
  };
}

async function decide(
  context: WriteContext,
  { session: named, number: only, all }: Selection,
  what: 'retry' | 'discard',
) {
  if (all === (only !== undefined) || (named === undefined && !all)) {
    throw new Problem(
      `Name the message: \`nanoclaw dead-letters ${what} SESSION NUMBER\`, or --all with or without a session. ` +
        'Nothing was changed.',
      2,
    );
  }
  const sessions = named === undefined ? await context.registry.sessions() : [await sessionNamed(context, named)];
  let count = 0;
  for (const session of sessions) {
    const decided = await decideInSession(context, session, only, what).catch((error: unknown) => {
      // With every session meant, one whose file cannot be used keeps none of the others from it.
      if (named !== undefined || !isSessionTrouble(error)) throw error;
      return 0;
    });
    if (decided > 0) context.live?.poke(session.id);
    count += decided;
  }
  if (only !== undefined && count === 0) throw noLetter(sessions[0]?.id ?? '', only);
  const done = what === 'retry' ? 'due again' : 'discarded';
  return { count, message: count === 1 ? `The message is ${done}.` : `${count} messages are ${done}.` };
}

/** Decides about one message of a session, or all of them, and gives how many there were. */
async function decideInSession(
  context: WriteContext,
  session: Session,
  only: number | undefined,
  what: 'retry' | 'discard',
): Promise<number> {
  const { sessions, now } = context;
  const numbers =
    only === undefined ? await sessions.withSession(session, ({ files }) => [...numbersOf(files)]) : [only];
  let count = 0;
  // Each by itself: there may be a thousand, and each is a commit.
  for (const each of numbers) {
    if (await sessions.withSession(session, ({ files }) => decideOne(files, each, what, now()))) count += 1;
  }
  return count;
}

function decideOne(files: HostSession, seq: number, what: 'retry' | 'discard', now: Millis): boolean {
  if (seq % 2 === 1) return files.deliveries[what](seq, now);
  const letter = inboundLetter(files, seq);
  return letter !== undefined && files.deadLetters[what](letter.id, now);
}

/** The numbers of all dead letters of a session. */
function* numbersOf(files: Pick<SessionView, 'deadLetters' | 'deliveries'>): Generator<number> {
  for (let after = 0; ; ) {
    const [letter] = files.deadLetters.list(1, after);
    if (letter === undefined) break;
    yield (after = letter.seq);
  }
  for (let after = 0; ; ) {
    const [letter] = files.deliveries.deadLetters(1, after);
    if (letter === undefined) break;
    yield (after = letter.seq);
  }
}

/** Numbers of the host are even and those of the agent odd, so the number says the direction. */
function letterOf(files: Pick<SessionView, 'deadLetters' | 'deliveries'>, seq: number) {
  if (seq % 2 === 0) {
    const letter = inboundLetter(files, seq);
    return letter && { direction: 'in' as const, letter };
  }
  const [letter] = files.deliveries.deadLetters(1, seq - 1);
  return letter?.seq === seq ? { direction: 'out' as const, letter } : undefined;
}

function inboundLetter(files: Pick<SessionView, 'deadLetters'>, seq: number): InboundDeadLetter | undefined {
  const [letter] = files.deadLetters.list(1, seq - 1);
  return letter?.seq === seq ? letter : undefined;
}

/** A dead letter of either direction, with what a person wants to see of it in front. */
type DeadLetterView = ReturnType<typeof toInboundView> | ReturnType<typeof toOutboundView>;

function lettersOf(
  session: Session,
  files: Pick<SessionView, 'deadLetters' | 'deliveries'>,
  most: number,
): DeadLetterView[] {
  return [
    ...files.deadLetters.list(most).map((letter) => toInboundView(session, letter)),
    ...files.deliveries.deadLetters(most).map((letter) => toOutboundView(session, letter)),
  ];
}

function toInboundView({ id: sessionId }: Session, letter: InboundDeadLetter) {
  const { seq, id, settledAt, error, content } = letter;
  return {
    sessionId,
    number: seq,
    direction: 'in' as const,
    settledAt,
    error,
    text: contentText(content),
    messageId: id,
    letter,
  };
}

function toOutboundView({ id: sessionId }: Session, letter: DeadLetter) {
  const { seq, messageOutId, settledAt, error, message } = letter;
  const text = message === undefined ? 'forgotten' : contentText(message.content);
  return { sessionId, number: seq, direction: 'out' as const, settledAt, error, text, messageId: messageOutId, letter };
}

function noLetter(sessionId: string, seq: number): Problem {
  return new Problem(
    `The session ${sessionId} has no dead letter ${seq}; nothing was changed. See \`nanoclaw dead-letters list\`.`,
    6,
  );
}
