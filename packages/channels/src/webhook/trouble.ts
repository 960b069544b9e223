/** What went wrong in a webhook channel. A `reason` is one sentence, without the text of any message and without secrets. */
export type WebhookTrouble =
  /** The host did not take a message; it is offered again at the next start, or when the program sends it again. */
  | { type: 'not-received'; endpoint: string; id: string; reason: string }
  /** A request could not be answered because of this side. */
  | { type: 'request-failed'; reason: string };
