/** What the disk can do at best: nothing that keeps a message over a power cut is faster. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { Contestant } from '../contestant.ts';

const RECORD = `${JSON.stringify({ text: 'a message of the usual size, or nearly so' }).padEnd(299)}\n`;

/** A record of 300 bytes at the end of a file, synced. */
export const APPEND: Contestant = {
  name: 'append 300 B + fdatasync',
  group: 'limit',
  open: async (folder) => {
    const log = openSync(join(folder, 'log'), 'a');
    return {
      ask: async () => {
        writeSync(log, RECORD);
        fdatasyncSync(log);
      },
      [Symbol.asyncDispose]: async () => closeSync(log),
    };
  },
};

/** One row in one transaction, as durable as the session files are. */
export const INSERT: Contestant = {
  name: 'SQLite insert, DELETE/EXTRA',
  group: 'limit',
  open: async (folder) => {
    const db = openSqlite(join(folder, 'bare.db'), 'create');
    db.exec('PRAGMA journal_mode = delete; PRAGMA synchronous = extra; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)');
    return {
      ask: async () => void db.run('INSERT INTO t (b) VALUES (:b)', { b: RECORD }),
      [Symbol.asyncDispose]: async () => db.close(),
    };
  },
};
