/** What a process did and when: kept in memory, and written to a file when it is asked for. */
import { appendFileSync } from 'node:fs';

/** One thing that a process did. */
export interface TraceEvent {
  /** Epoch milliseconds, with fractions: comparable between processes of a machine. */
  readonly at: number;
  /** How long it took, in milliseconds. */
  readonly ms: number;
  /** Which process: `host` or `runner`. */
  readonly process: string;
  /** `read`, `write`, `commit`, `guard`, `channel`, … */
  readonly kind: string;
  /** The statement, or what was asked. */
  readonly what: string;
}

/** Records the events of this process. */
export class Recorder {
  readonly events: TraceEvent[] = [];
  readonly #process: string;

  constructor(process: string) {
    this.#process = process;
  }

  /** Notes something that began at `since`, by `performance.now()`, and is over now. */
  note(kind: string, what: string, since: number): void {
    const ms = performance.now() - since;
    this.events.push({ at: performance.timeOrigin + since, ms, process: this.#process, kind, what });
  }

  /** Appends what was recorded to a file, a line each, and begins anew. */
  flush(path: string): void {
    const all = this.events.splice(0);
    if (all.length > 0) appendFileSync(path, all.map((event) => `${JSON.stringify(event)}\n`).join(''));
  }
}

/** Of a statement, what kind it is: what commits is synced. */
export function kindOf(sql: string): string {
  const first = /^\s*(\w+)/.exec(sql)?.[1]?.toUpperCase() ?? '';
  if (first === 'COMMIT') return 'commit';
  if (first === 'SELECT' || first === 'WITH' || first === 'PRAGMA') return 'read';
  if (first === 'BEGIN' || first === 'ROLLBACK') return 'transaction';
  return 'write';
}

/** A statement in one short line. */
export function shortened(sql: string): string {
  return sql.replaceAll(/\s+/g, ' ').trim().slice(0, 100);
}
