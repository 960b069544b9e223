/** The tasks of an agent: `schedule_task`, `update_task`, `cancel_task`, `pause_task`, `resume_task`. */
import type { JsonObject, Millis } from '@nanoclaw/session-db';
import { applyScheduling, type SchedulingResult } from '@nanoclaw/sweep';
import { answeredMessage } from '../session/index.ts';
import { type Action, failed } from './action.ts';

/** Does it in one transaction with its result. What the task says goes where the agent was asked for it. */
export const schedule: Action = async ({ session, row }, { timeZone, now }) => {
  const address = answeredMessage(session.files, row)?.address ?? session.files.routing().replyTo;
  const options = { actionId: row.id, address, timeZone };
  const result = await session.write((files) => applyScheduling(files, row.content, options, now()));
  return result.type === 'refused' ? failed(result.message) : { status: 'ok', result: toResult(result) };
};

function toResult(result: Exclude<SchedulingResult, { type: 'refused' }>): JsonObject {
  return 'nextAt' in result
    ? { type: result.type, taskId: result.taskId, nextAt: result.nextAt === null ? null : isoTime(result.nextAt) }
    : { type: result.type, taskId: result.taskId };
}

function isoTime(at: Millis): string {
  return new Date(at).toISOString();
}
