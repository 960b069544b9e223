/** `nanoclaw tasks`: the scheduled tasks of sessions. Changed by the same code that serves the agents' own requests. */
import type { Session } from '@nanoclaw/registry';
import type { HostSession, JsonObject, SeriesRecord, SessionView } from '@nanoclaw/session-db';
import { applyScheduling, type SchedulingAction, type SchedulingRefusal } from '@nanoclaw/sweep';
import { z } from 'zod';
import { type ExitCode, Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import { ownSession } from './confine.ts';
import type { WriteContext } from './contexts.ts';
import { agentGroupNamed, notFound, oneOf, onlyGroup, sessionNamed } from './lookup.ts';
import { groupOption, sessionArgument, Text, whole } from './parameters.ts';
import { contentText, withFiles, withUsableFiles } from './sessions.ts';
import { column } from './view.ts';

const task = argument(Text, 'the task: its id, or the beginning of it');
const CATCH_UP = ['skip', 'latest', 'all'] as const;
const OVERLAP = ['skip', 'buffer-one', 'allow'] as const;
const settings = {
  processAfter: option(Text.exactOptional(), 'when it is due first: 2026-12-24T18:00, with or without an offset', {
    value: 'time',
  }),
  recurrence: option(
    Text.exactOptional(),
    'when it repeats: cron, five fields, or "every 90 minutes" (hours, days, weeks)',
    {
      value: 'cron or interval',
    },
  ),
  timeZone: option(Text.exactOptional(), 'the time zone of both; IANA', { value: 'zone' }),
  script: option(Text.exactOptional(), 'a bash script that decides whether the agent is woken', { value: 'bash' }),
  end: option(Text.exactOptional(), 'it ends at this time', { value: 'time' }),
  countMax: option(whole(1, 1_000_000).exactOptional(), 'how often it runs at most', { value: 'n' }),
  catchUp: option(z.enum(CATCH_UP).exactOptional(), 'what happens to runs that were missed while the host was down', {
    value: 'how',
    choices: CATCH_UP,
  }),
  overlap: option(z.enum(OVERLAP).exactOptional(), 'what happens to a run that is due while the one before goes on', {
    value: 'how',
    choices: OVERLAP,
  }),
} as const;
const sessionAndTask = z.object({ session: sessionArgument, task });

/** The commands about tasks. */
export const taskCommands: readonly OperatorCommand[] = [
  reads({
    path: ['tasks', 'list'],
    summary: 'list the tasks of all sessions that have not ended',
    parameters: z.object({
      group: groupOption,
      session: option(Text.exactOptional(), 'only this session'),
    }),
    agents: async (parameters, own, context) => {
      const named = parameters.session && (await sessionNamed(context, parameters.session));
      if (named && named.key.agentGroupId !== own) return undefined;
      const group = parameters.group && (await agentGroupNamed(context.registry, parameters.group)).id;
      return group === undefined || group === own ? { ...parameters, group: own } : undefined;
    },
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('SESSION', 'sessionId', 'id'),
        column('STATUS', 'status'),
        column('NEXT', 'nextAt', 'time'),
        column('REPEATS', 'repeats'),
        column('PROMPT', 'prompt'),
      ],
      empty: 'There are no tasks.',
    },
    run: async (context, { group, session: named }) => {
      const { registry } = context;
      const only = await onlyGroup(registry, group);
      const sessions =
        named === undefined
          ? (await registry.sessions()).filter(({ key }) => only === undefined || key.agentGroupId === only)
          : [await sessionNamed(context, named)];
      const tasks: unknown[] = [];
      for (const session of sessions) {
        const look = named === undefined ? withUsableFiles : withFiles;
        const own = await look(context, session, ({ files }) =>
          files.series.live().map((series) => toView(session, series, files)),
        );
        tasks.push(...(own ?? []));
      }
      return tasks;
    },
  }),
  reads({
    path: ['tasks', 'get'],
    summary: 'show one task',
    parameters: sessionAndTask,
    agents: ownSession(),
    view: { type: 'record' },
    run: async (context, parameters) => {
      const session = await sessionNamed(context, parameters.session);
      const found = await withFiles(context, session, ({ files }) => {
        const series = seriesNamed(files, parameters.task);
        return { ...toView(session, series, files), occurrences: files.series.open(series.id).map(({ id }) => id) };
      });
      if (found === undefined) throw notFound('task', parameters.task, 'tasks list');
      return found;
    },
  }),
  changes({
    path: ['tasks', 'create'],
    summary: 'create a task for a session',
    parameters: z.object({
      session: sessionArgument,
      prompt: argument(Text, 'the prompt that the agent gets each time'),
      ...settings,
    }),
    agents: ownSession(),
    view: { type: 'record' },
    run: (context, { session, ...content }) => schedule(context, 'schedule_task', session, () => content),
  }),
  changes({
    path: ['tasks', 'update'],
    summary: 'change a task; what is left out stays as it is',
    parameters: z.object({
      session: sessionArgument,
      task,
      prompt: option(Text.exactOptional(), 'the prompt that the agent gets each time', { value: 'text' }),
      ...settings,
    }),
    agents: ownSession(),
    view: { type: 'record' },
    run: (context, { session, task: named, ...content }) =>
      schedule(context, 'update_task', session, (files) => ({ ...content, taskId: seriesNamed(files, named).id })),
  }),
  changes({
    path: ['tasks', 'pause'],
    summary: 'pause a task until it is resumed',
    parameters: sessionAndTask,
    agents: ownSession(),
    view: { type: 'record' },
    run: (context, parameters) => onTask(context, 'pause_task', parameters),
  }),
  changes({
    path: ['tasks', 'resume'],
    summary: 'resume a paused task; runs missed meanwhile are not made up for',
    parameters: sessionAndTask,
    agents: ownSession(),
    view: { type: 'record' },
    run: (context, parameters) => onTask(context, 'resume_task', parameters),
  }),
  changes({
    path: ['tasks', 'cancel'],
    alias: 'delete',
    summary: 'cancel a task, with its runs that are still pending',
    parameters: sessionAndTask,
    agents: ownSession(),
    view: { type: 'record' },
    run: (context, parameters) => onTask(context, 'cancel_task', parameters),
  }),
];

function onTask(
  context: WriteContext,
  action: SchedulingAction,
  { session, task: named }: { readonly session: string; readonly task: string },
): Promise<object> {
  return schedule(context, action, session, (files) => ({ taskId: seriesNamed(files, named).id }));
}

/** Does what an agent could ask for as well, in the session's own file. */
async function schedule(
  context: WriteContext,
  action: SchedulingAction,
  named: string,
  content: (files: HostSession) => JsonObject,
): Promise<object> {
  const { now, timeZone, newId, sessions, live } = context;
  const session = await sessionNamed(context, named);
  const actionId = `operator/${newId()}`;
  const result = await sessions.withSession(session, ({ files }) => {
    const { replyTo: address } = files.routing();
    return applyScheduling(files, { ...content(files), action }, { actionId, address, timeZone }, now());
  });
  if (result.type === 'refused') throw new Problem(result.message, EXIT_CODE_OF[result.reason]);
  live?.poke(session.id);
  return { sessionId: session.id, ...result };
}

const EXIT_CODE_OF: Readonly<Record<SchedulingRefusal, ExitCode>> = {
  malformed: 2,
  'bad-time': 2,
  'bad-recurrence': 2,
  'too-long': 2,
  'unknown-task': 6,
  'too-many': 7,
};

/** Only one that has not ended: a finished task has nothing left that could be changed. */
function seriesNamed(files: Pick<SessionView, 'series'>, text: string): SeriesRecord {
  return files.series.get(text) ?? oneOf(files.series.live(), text, 'task', 'tasks list');
}

function toView(session: Session, series: SeriesRecord, files: Pick<SessionView, 'series'>) {
  return {
    ...series,
    sessionId: session.id,
    nextAt: files.series.open(series.id)[0]?.processAfter ?? series.nextSlot,
    repeats: series.recurrence === null ? 'once' : `${series.recurrence.cron} ${series.recurrence.timeZone}`,
    prompt: contentText(series.content),
  };
}
