/** All tools that the agent has, in the order of the table in the README. */
import type { Tool } from '../provider.ts';
import { messageTools } from './messages.ts';
import { questionTool } from './question.ts';
import { requestTools } from './requests.ts';
import type { ToolScope } from './scope.ts';
import { taskTools } from './tasks.ts';

/** The tools of one turn. */
export function agentTools(scope: ToolScope): Tool[] {
  return [...messageTools(scope), questionTool(scope), ...taskTools(scope), ...requestTools(scope)];
}
