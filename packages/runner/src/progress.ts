/**
 * What the host may know of the work in hand: that there is progress, and which tools it waits for.
 */
import { isBusy, type Millis, type RunnerSession, type ToolInFlight } from '@nanoclaw/session-db';

/**
 * A model streams dozens of parts a second and each report is a commit; the host judges silence by the minute. A tool
 * that begins or ends is reported at once.
 */
const REPORT_EVERY_MS: Millis = 1_000;

export class Progress {
  readonly #session: RunnerSession;
  readonly #tools = new Map<string, ToolInFlight>();
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = false;

  constructor(session: RunnerSession) {
    this.#session = session;
  }

  /** The model or a tool did something. */
  made(now: Millis): void {
    if (now - this.#reportedAt >= REPORT_EVERY_MS || now < this.#reportedAt) this.#report(now);
  }

  /** A tool began. Several may be in flight, each with its own record. */
  toolStarted(tool: ToolInFlight): void {
    this.#tools.set(tool.toolUseId, tool);
    this.#report(tool.startedAt);
  }

  toolEnded(toolUseId: string, now: Millis): void {
    if (this.#tools.delete(toolUseId)) this.#report(now);
  }

  /** None of these tools is waited for any more: their turn is over. */
  toolsEnded(toolUseIds: Iterable<string>, now: Millis): void {
    const ended = [...toolUseIds].filter((id) => this.#tools.delete(id));
    if (ended.length > 0) this.#report(now);
  }

  /** A report found the file locked and is still to be made. */
  get isUnreported(): boolean {
    return this.#unreported;
  }

  /** Makes up for a report that found the file locked. To be called now and then while a turn runs. */
  retry(now: Millis): void {
    if (this.#unreported) this.#report(now);
  }

  #report(now: Millis): void {
    try {
      this.#session.progress([...this.#tools.values()], now);
      this.#reportedAt = now;
      this.#unreported = false;
    } catch (error) {
      // The host is reading. The list is set as a whole, so a later report says all that this one would have.
      if (!isBusy(error)) throw error;
      this.#unreported = true;
    }
  }
}
