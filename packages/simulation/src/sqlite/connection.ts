/** A real connection with the statements that were prepared on it. */
import Real from 'better-sqlite3';

export class Connection {
  readonly db: Real.Database;
  /** Called when the code that opened it closes it. */
  readonly giveBack: () => void;
  readonly #statements = new Map<string, Real.Statement>();

  /** Throws what opening throws. */
  constructor(path: string, options: Real.Options, giveBack: () => void = () => void this.db.close()) {
    this.db = new Real(path, options);
    this.giveBack = giveBack;
  }

  /** Prepares a statement, once. */
  prepare(sql: string): Real.Statement {
    const known = this.#statements.get(sql);
    // One that is being stepped through cannot be used a second time.
    if (known !== undefined && !known.busy) return known;
    const prepared = this.db.prepare(sql);
    this.#statements.set(sql, prepared);
    return prepared;
  }
}
