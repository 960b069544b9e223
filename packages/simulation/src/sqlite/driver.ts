/**
 * The SQLite driver as a process of the simulation has it: the real one, where each commit is a touch of the world. A
 * process that dies in one leaves a real half commit behind, hot journal included.
 */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import Real from 'better-sqlite3';
import { type Actor, acting, type World } from '../world.ts';
import { type Committed, committed, leave, synchronousOf } from './commits.ts';
import { Connection } from './connection.ts';

export default class Database {
  static readonly SqliteError = Real.SqliteError;
  readonly #connection: Connection;
  readonly #path: string;
  readonly #actor: Actor | undefined;

  constructor(path: string, options: Real.Options = {}) {
    this.#actor = acting.getStore();
    this.#path = path;
    this.#meetTrouble(options.readonly === true ? 'read' : 'open');
    this.#connection = this.#actor === undefined ? new Connection(path, options) : lent(this.#actor, path, options);
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
    return new Statement(this.#connection.prepare(sql), {
      run: (call) => this.#passing(call),
      write: (call) => (this.#db.inTransaction ? this.#passing(call) : this.#alone(call)),
    });
  }

  pragma(source: string, options?: Real.PragmaOptions): unknown {
    this.#assertAlive();
    return this.#db.pragma(source, options);
  }

  close(): void {
    if (this.#actor?.isAlive === true) this.#connection.giveBack();
    else this.#db.close();
  }

  get #db(): Real.Database {
    return this.#connection.db;
  }

  #passing<T>(call: () => T): T {
    this.#assertAlive();
    return call();
  }

  #commit(): void {
    this.#touch(
      'commit',
      () => this.#db.exec('COMMIT'),
      () => ({ result: undefined, commit: committed(this.#db, this.#path) }),
    );
  }

  /** A statement that is a transaction by itself. */
  #alone<T>(call: () => T): T {
    return this.#touch('write', call, () => {
      this.#db.exec('BEGIN IMMEDIATE');
      const result = call();
      return { result, commit: committed(this.#db, this.#path) };
    });
  }

  #touch<T>(what: string, perform: () => T, watched: () => { readonly result: T; readonly commit: Committed }): T {
    const world = this.#world;
    if (world === undefined) return perform();
    const done = <R>(result: R): R => {
      if (this.#isSession && this.#actor !== undefined) world.onWrite(this.#path, this.#actor);
      world.changed(this.#path);
      return result;
    };
    const change = { type: 'database', path: this.#path, synchronous: () => synchronousOf(this.#db) } as const;
    if (!this.#isSession) return world.touch({ what: this.#what(what), change, perform: () => done(perform()) });
    return world.touch({
      what: this.#what(what),
      change,
      perform: () => done(perform()),
      watched: () => done(watched()),
      leave: (image) => {
        leave(image, this.#path);
        world.changed(this.#path);
      },
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
    return isSession(this.#path);
  }

  get #world(): World | undefined {
    return this.#actor?.world;
  }
}

function isSession(path: string): boolean {
  return /(inbound|outbound)\.db$/.test(path);
}

/**
 * A connection of a process. One that reads the other side's file is closed and opened again for every look; the real
 * one is kept for the next look of the same process, as it was left, because opening and preparing is most of its cost.
 */
function lent(actor: Actor, path: string, options: Real.Options): Connection {
  const isKept = options.readonly === true && isSession(path);
  const inode = isKept ? statSync(path, { throwIfNoEntry: false })?.ino : undefined;
  const kept = actor.connections.get(path);
  if (kept !== undefined && inode !== undefined && kept.inode === inode) {
    actor.connections.delete(path);
    return kept.connection;
  }
  const connection = new Connection(path, options, () => {
    if (connection.db.inTransaction) connection.db.exec('ROLLBACK');
    if (inode !== undefined && !actor.connections.has(path)) actor.connections.set(path, { connection, inode });
    else {
      connection.db.close();
      actor.handles.delete(connection.db);
    }
  });
  actor.handles.add(connection.db);
  return connection;
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
