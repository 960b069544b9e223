/** All tools that the agent has, in the order of the table in the README. */
import type { Tool } from '../provider.js';
import { messageTools } from './messages.js';
import { questionTool } from './question.js';
import { requestTools } from './requests.js';
import type { ToolScope } from './scope.js';
import { taskTools } from './tasks.js';

/** The tools of one turn. */
export function agentTools(scope: ToolScope): Tool[] {
  return [...messageTools(scope), questionTool(scope), ...taskTools(scope), ...requestTools(scope)];
}
