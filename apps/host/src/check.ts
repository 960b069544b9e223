/** What the doctor says of one thing that it has looked at. */
export interface Check {
  readonly what: string;
  /** `note`: nothing is wrong, but something could be better. */
  readonly verdict: 'ok' | 'note' | 'trouble';
  /** What was seen, and what to do where something is wrong: one or two sentences. */
  readonly finding: string;
}
