/**
 * The SQLite driver as a process of the simulation has it: the real one, where each commit is a touch of the world. A
 * process that dies in one leaves a real half commit behind, hot journal included.
 */
import { basename } from 'node:path';
import Real from 'better-sqlite3';
import { type Actor, acting, type World } from '../world.js';
import { type CommitStates, commitStates } from './commits.js';

export default class Database {
  static readonly SqliteError = Real.SqliteError;
  readonly #db: Real.Database;
  readonly #path: string;
  readonly #actor: Actor | undefined;

  constructor(path: string, options: Real.Options = {}) {
    this.#actor = acting.getStore();
    this.#path = path;
    this.#meetTrouble(options.readonly === true ? 'read' : 'open');
    this.#db = new Real(path, options);
    this.#actor?.handles.add(this.#db);
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  exec(sql: string): void {
    if (/^\s*BEGIN IMMEDIATE/i.test(sql)) this.#meetTrouble('begin');
    if (/^\s*COMMIT/i.test(sql)) this.#commit();
    else if (!this.#db.inTransaction && /^\s*(CREATE|INSERT|UPDATE|DELETE)/i.test(sql))
      this.#alone(() => this.#db.exec(sql));
    else this.#passing(() => this.#db.exec(sql));
  }

  prepare(sql: string): Statement {
    this.#assertAlive();
    return new Statement(this.#db.prepare(sql), {
      run: (call) => this.#passing(call),
      write: (call) => (this.#db.inTransaction ? this.#passing(call) : this.#alone(call)),
    });
  }

  pragma(source: string, options?: Real.PragmaOptions): unknown {
    this.#assertAlive();
    return this.#db.pragma(source, options);
  }

  close(): void {
    this.#db.close();
    this.#actor?.handles.delete(this.#db);
  }

  #passing<T>(call: () => T): T {
    this.#assertAlive();
    return call();
  }

  #commit(): void {
    this.#touch(
      'commit',
      () => this.#db.exec('COMMIT'),
      () => commitStates(this.#db, this.#path),
    );
  }

  /** A statement that is a transaction by itself. */
  #alone<T>(call: () => T): T {
    return this.#touch('write', call, () => {
      this.#db.exec('BEGIN IMMEDIATE');
      call();
      return commitStates(this.#db, this.#path);
    });
  }

  #touch<T>(what: string, perform: () => T, states: () => CommitStates): T {
    const world = this.#world;
    if (world === undefined) return perform();
    return world.touch({
      what: this.#what(what),
      perform: () => {
        const result = perform();
        if (this.#isSession && this.#actor !== undefined) world.onWrite(this.#path, this.#actor);
        world.changed(this.#path);
        return result;
      },
      ...(this.#isSession && {
        states: () => {
          const { count, leave } = states();
          return {
            count,
            leave: (state: number) => {
              leave(state);
              world.changed(this.#path);
            },
          };
        },
      }),
    });
  }

  #meetTrouble(what: string): void {
    this.#assertAlive();
    if (this.#actor === undefined) return;
    const trouble = this.#world?.troubleAt(this.#what(what), this.#actor);
    if (trouble !== undefined) throw trouble;
  }

  #assertAlive(): void {
    this.#world?.assertAlive(this.#actor);
  }

  #what(what: string): string {
    return `${what} ${basename(this.#path)}`;
  }

  /** The two files of the protocol keep rollback journals, of which every state is known. */
  get #isSession(): boolean {
    return /(inbound|outbound)\.db$/.test(this.#path);
  }

  get #world(): World | undefined {
    return this.#actor?.around.world;
  }
}

interface Calls {
  run<T>(call: () => T): T;
  write<T>(call: () => T): T;
}

class Statement {
  readonly #statement: Real.Statement;
  readonly #calls: Calls;

  constructor(statement: Real.Statement, calls: Calls) {
    this.#statement = statement;
    this.#calls = calls;
  }

  get reader(): boolean {
    return this.#statement.reader;
  }

  run(...parameters: unknown[]): Real.RunResult {
    return this.#call(() => this.#statement.run(...parameters));
  }

  all(...parameters: unknown[]): unknown[] {
    return this.#call(() => this.#statement.all(...parameters));
  }

  get(...parameters: unknown[]): unknown {
    return this.#call(() => this.#statement.get(...parameters));
  }

  iterate(...parameters: unknown[]): IterableIterator<unknown> {
    return this.#statement.iterate(...parameters);
  }

  #call<T>(call: () => T): T {
    return this.#statement.readonly ? this.#calls.run(call) : this.#calls.write(call);
  }
}
