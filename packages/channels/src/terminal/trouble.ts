/** What went wrong in a terminal channel. A `reason` is one sentence, without the text of any message. */
export type TerminalTrouble =
  /** The connection was ended from this side; `chat` is undefined if the client never named one. */
  | { type: 'client-dropped'; chat: string | undefined; reason: string }
  /** The host did not take a message; it is offered again at the next start, or when the client sends it again. */
  | { type: 'not-received'; chat: string; id: string; reason: string }
  /** Files that are no longer needed could not be removed. They are tried again at the next start. */
  | { type: 'files-left'; reason: string }
  /** The socket could not take a connection. */
  | { type: 'connection-failed'; reason: string };
