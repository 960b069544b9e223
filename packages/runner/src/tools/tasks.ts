/** Tools for what is to happen later. The host keeps the schedule; listing reads it where the host has written it. */
import type { Json, OpenTask } from '@nanoclaw/session-db';
import { oneLine, zoneProblem } from '@nanoclaw/session-db/text';
import type { Tool } from '../provider.ts';
import { momentOf, zonedText } from '../time.ts';
import { requested } from './requests.ts';
import type { ToolScope } from './scope.ts';
import { type Field, oneOf, optional, ToolInputError, text, tool } from './tool.ts';

export function taskTools(scope: ToolScope): Tool[] {
  return [
    scheduleTask(scope),
    listTasks(scope),
    updateTask(scope),
    onTask(scope, 'cancel_task', 'Cancels a task for good, a recurring one with all that is to come.'),
    onTask(scope, 'pause_task', 'Holds a task back until it is resumed.'),
    onTask(scope, 'resume_task', 'Lets a paused task go on.'),
  ];
}

const TIME = 'ISO 8601, as 2026-11-21T15:00:00 in the time zone of the task, or with Z or an offset.';
const recurrence = optional(
  text(
    'recurrence',
    'It happens again and again: cron of five fields, such as 0 9 * * 1-5; or an interval of minutes, hours, days or weeks, ' +
      'such as every 90 minutes, counted from processAfter or from now. A step of cron begins anew with its hour or day: ' +
      'where one does not divide it evenly, an interval is meant.',
    100,
  ),
);
const script = optional(
  text(
    'script',
    'Bash, run first (30 s): its last line is JSON {"wakeAgent": boolean, "data"?: …}; false skips the run.',
    65_536,
  ),
);
const timeZone = optional(text('timeZone', "IANA name; the conversation's own when left out.", 64));
const catchUp = optional(
  oneOf('catchUp', 'What becomes of times missed while nothing ran.', ['skip', 'latest', 'all']),
);
const overlap = optional(
  oneOf('overlap', 'What becomes of a time that comes while the last is at work.', ['skip', 'buffer-one', 'allow']),
);

function scheduleTask(scope: ToolScope): Tool {
  const prompt = text('prompt', 'What to do then: you will read it without this conversation at hand.', 20_000);
  const processAfter = optional(
    text('processAfter', `When; of a recurring task the first time, if not the next. ${TIME}`, 40),
  );
  const fields = [prompt, processAfter, recurrence, script, timeZone, catchUp, overlap];
  return tool({
    name: 'schedule_task',
    description: 'Schedules something to be done later, once or again and again, and gives its taskId.',
    fields,
    call: (input) => {
      const at = processAfter.of(input);
      if (at === undefined && recurrence.of(input) === undefined) {
        throw new ToolInputError('schedule_task needs processAfter, recurrence or both.');
      }
      const zone = zoneOf(scope, timeZone.of(input));
      const first = at === undefined ? {} : { processAfter: moment(at, zone) };
      return requested(scope, 'schedule_task', { ...given(fields, input), ...first, timeZone: zone });
    },
  });
}

function listTasks(scope: ToolScope): Tool {
  return tool({
    name: 'list_tasks',
    description: 'Lists the tasks that are yet to happen, with their taskIds.',
    fields: [],
    call: async () => {
      const tasks = await scope.tasks();
      return tasks.length === 0
        ? 'There are no tasks.'
        : tasks.map((task) => taskLine(task, scope.timeZone)).join('\n');
    },
  });
}

function taskLine(task: OpenTask, zone: string): string {
  const again = task.recurrence === null ? 'once' : `${repeats(task.recurrence.cron)} (${task.recurrence.timeZone})`;
  const when = task.nextAt === null ? 'no time set' : `next ${zonedText(task.nextAt, zone)}`;
  const reason = task.reason === null ? '' : ` (${task.reason})`;
  const failures = task.failures === 0 ? '' : `, the last ${task.failures} failed`;
  return `${task.taskId}: ${task.status}${reason}, ${again}, ${when}${failures}: ${oneLine(task.prompt, 200)}`;
}

/** An interval says it by itself. */
function repeats(expression: string): string {
  return expression.startsWith('every ') ? expression : `every ${expression}`;
}

const taskId = text('taskId', 'As list_tasks or schedule_task gives it.', 300);

function updateTask(scope: ToolScope): Tool {
  const prompt = optional(text('prompt', 'What to do instead.', 20_000));
  const processAfter = optional(text('processAfter', `The next time. ${TIME}`, 40));
  const fields = [taskId, prompt, processAfter, recurrence, script, timeZone, catchUp, overlap];
  return tool({
    name: 'update_task',
    description: 'Changes a task; what is left out stays as it is.',
    fields,
    call: (input) => {
      // As written: without an offset it is of the task's own zone, which the host knows.
      const changes = given(fields, input);
      const [at, zone] = [processAfter.of(input), timeZone.of(input)];
      if (at !== undefined) moment(at, zoneOf(scope, zone));
      else if (zone !== undefined) zoneOf(scope, zone);
      if (Object.keys(changes).length === 1) throw new ToolInputError('update_task needs something to change.');
      return requested(scope, 'update_task', changes);
    },
  });
}

function onTask(scope: ToolScope, name: string, description: string): Tool {
  return tool({
    name,
    description,
    fields: [taskId],
    call: (input) => requested(scope, name, { taskId: taskId.of(input) }),
  });
}

/** The arguments that were given, under their names. */
function given(
  fields: readonly Field<Json | undefined>[],
  input: Readonly<Record<string, unknown>>,
): Record<string, Json> {
  const values: Record<string, Json> = {};
  for (const field of fields) {
    const value = field.of(input);
    if (value !== undefined) values[field.name] = value;
  }
  return values;
}

function zoneOf(scope: ToolScope, zone: string | undefined): string {
  if (zone === undefined) return scope.timeZone;
  const problem = zoneProblem(zone);
  if (problem !== undefined) throw new ToolInputError(problem);
  return zone;
}

function moment(when: string, zone: string): number {
  const at = momentOf(when, zone);
  if (at === undefined) throw new ToolInputError(`${JSON.stringify(when)} is no time. ${TIME}`);
  return at;
}
