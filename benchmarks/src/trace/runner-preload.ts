/** Loaded into the runner's Bun before its program: records the statements of `bun:sqlite`, and writes them down each second. */
import { Database } from 'bun:sqlite';
import { kindOf, Recorder, shortened } from './recorder.ts';

const recorder = new Recorder('runner');
const out = process.env['NANOCLAW_TRACE'] ?? '/dev/null';

const prepare = Database.prototype.prepare;
Database.prototype.prepare = function traced(this: Database, sql: string, ...rest: []) {
  const statement = prepare.call(this, sql, ...rest);
  for (const name of ['run', 'all'] as const) {
    const original = statement[name].bind(statement);
    Object.assign(statement, {
      [name]: (...values: []) => {
        const since = performance.now();
        try {
          return original(...values);
        } finally {
          recorder.note(kindOf(sql), shortened(sql), since);
        }
      },
    });
  }
  return statement;
} as typeof prepare;

const exec = Database.prototype.exec;
Database.prototype.exec = function traced(this: Database, sql: string, ...rest: []) {
  const since = performance.now();
  try {
    return exec.call(this, sql, ...rest);
  } finally {
    recorder.note(kindOf(sql), shortened(sql), since);
  }
} as typeof exec;

setInterval(() => recorder.flush(out), 200).unref();
