/** Chat messages that begin with a slash: which are commands, and for whom. Exact words only. Pure. */

/** What a chat message is to the host. */
export type CommandClass =
  /** Not a command: for the agent to read. */
  | { readonly type: 'chat' }
  /** For the agent's runner; `isForAdmins`: only admins may use it. */
  | { readonly type: 'command'; readonly text: string; readonly isForAdmins: boolean }
  /** Answered in the chat, and not given to the agent. */
  | { readonly type: 'refused'; readonly answer: string }
  /** Meant for another program's prompt; dropped without an answer. */
  | { readonly type: 'filtered' };

const STOP = '/stop';
const FOR_ADMINS: readonly string[] = ['/clear', '/compact', '/context', '/cost', '/files'];
const FILTERED: readonly string[] = ['/help', '/login', '/logout', '/doctor', '/config', '/start'];

/** Classifies a text. `isAdmin`: its sender may administer the agent. */
export function classifyCommand(text: string, isAdmin: boolean): CommandClass {
  const word = text.trim();
  if (word === STOP) return { type: 'command', text: word, isForAdmins: false };
  if (FILTERED.includes(word)) return { type: 'filtered' };
  if (!FOR_ADMINS.includes(word)) return { type: 'chat' };
  if (isAdmin) return { type: 'command', text: word, isForAdmins: true };
  return { type: 'refused', answer: `${word} is for admins of this agent; nothing was changed.` };
}

/** Whether a text stops the running turn. Every sender whom the agent hears may use it, without mentioning the agent. */
export function isStop(text: string): boolean {
  return text.trim() === STOP;
}
