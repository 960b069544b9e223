/** The command gate: what a chat message is that begins with a slash. Exact words only, decided once, here. Pure. */

export type Said =
  /** Not a command: for the agent to read. */
  | { readonly type: 'chat' }
  | { readonly type: 'command'; readonly text: string }
  /** Answered in the chat, and not given to the agent. */
  | { readonly type: 'refused'; readonly answer: string }
  /** Meant for another program's prompt; dropped without a word. */
  | { readonly type: 'filtered' };

const FOR_EVERYBODY: readonly string[] = ['/stop'];
const FOR_ADMINS: readonly string[] = ['/clear', '/compact', '/context', '/cost', '/files'];
const FILTERED: readonly string[] = ['/help', '/login', '/logout', '/doctor', '/config', '/start'];

/** What a text is, said by somebody who may administer the agent or may not. */
export function said(text: string, isAdmin: boolean): Said {
  const word = text.trim();
  if (FOR_EVERYBODY.includes(word)) return { type: 'command', text: word };
  if (FILTERED.includes(word)) return { type: 'filtered' };
  if (!FOR_ADMINS.includes(word)) return { type: 'chat' };
  if (isAdmin) return { type: 'command', text: word };
  return { type: 'refused', answer: `${word} is for admins of this agent; nothing was changed.` };
}
