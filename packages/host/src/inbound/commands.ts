/** The command gate: what a chat message is that begins with a slash. Exact words only, decided once, here. Pure. */

export type Gated =
  /** Not a command: for the agent to read. */
  | { readonly type: 'chat' }
  /** For the agent's runner; `isForAdmins` when an admin has used a right. */
  | { readonly type: 'command'; readonly text: string; readonly isForAdmins: boolean }
  /** Answered in the chat, and not given to the agent. */
  | { readonly type: 'refused'; readonly answer: string }
  /** Meant for another program's prompt; dropped without a word. */
  | { readonly type: 'filtered' };

const STOP = '/stop';
const FOR_ADMINS: readonly string[] = ['/clear', '/compact', '/context', '/cost', '/files'];
const FILTERED: readonly string[] = ['/help', '/login', '/logout', '/doctor', '/config', '/start'];

/** What a text is, said by somebody who may administer the agent or may not. */
export function gated(text: string, isAdmin: boolean): Gated {
  const word = text.trim();
  if (word === STOP) return { type: 'command', text: word, isForAdmins: false };
  if (FILTERED.includes(word)) return { type: 'filtered' };
  if (!FOR_ADMINS.includes(word)) return { type: 'chat' };
  if (isAdmin) return { type: 'command', text: word, isForAdmins: true };
  return { type: 'refused', answer: `${word} is for admins of this agent; nothing was changed.` };
}

/** Whether a text stops what runs. Whoever may speak may say so, and need not call the agent first. */
export function isStop(text: string): boolean {
  return text.trim() === STOP;
}
