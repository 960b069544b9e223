import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ring } from '../src/doorbell.ts';
import { changeToken, Doorbell, lastBeat, type SetTimer } from '../src/index.ts';
import { temporaryFolder } from './support.ts';

let stack: DisposableStack;
let root: string;
let paths: { database: string; bell: string };

beforeEach(() => {
  stack = new DisposableStack();
  root = stack.use(temporaryFolder()).path;
  paths = { database: join(root, 'x.db'), bell: join(root, 'bell') };
});
afterEach(() => stack.dispose());

/** Timers that fire when the test says so. */
function manualTimers() {
  const waiting: { delayMs: number; action: () => void }[] = [];
  const setTimer: SetTimer = (delayMs, action) => {
    const entry = { delayMs, action };
    waiting.push(entry);
    return () => {
      const at = waiting.indexOf(entry);
      if (at >= 0) waiting.splice(at, 1);
    };
  };
  const fire = (delayMs = Math.min(...waiting.map((timer) => timer.delayMs))) => {
    const at = waiting.findIndex((timer) => timer.delayMs === delayMs);
    if (at < 0) throw new Error(`No timer of ${delayMs} ms waits.`);
    waiting.splice(at, 1)[0]?.action();
  };
  return { setTimer, waiting, fire };
}

const realTimer: SetTimer = (delayMs, action) => {
  const timer = setTimeout(action, delayMs);
  return () => clearTimeout(timer);
};

/** Rings until the test is over: a watch may begin a little late, and what is rung before is for the poll to find. */
function ringOn(bell: string): void {
  const timer = setInterval(() => ring(bell, 2_000), 20);
  stack.defer(() => clearInterval(timer));
}

describe('a doorbell', () => {
  it('sees by polling alone that the database has changed, and rings once for it', () => {
    const timers = manualTimers();
    let rings = 0;
    stack.use(new Doorbell(paths, () => rings++, { setTimer: timers.setTimer }));
    timers.fire();
    expect(rings).toBe(0);
    writeFileSync(paths.database, 'x');
    timers.fire();
    timers.fire();
    expect(rings).toBe(1);
  });

  it('polls ever more slowly while nothing happens, up to the floor, and quickly again after a change', () => {
    const timers = manualTimers();
    stack.use(new Doorbell(paths, () => undefined, { setTimer: timers.setTimer, pollMinMs: 4, pollMaxMs: 9 }));
    const delays = [];
    for (let i = 0; i < 4; i++) {
      delays.push(timers.waiting[0]?.delayMs);
      timers.fire();
    }
    expect(delays).toEqual([4, 6, 9, 9]);
    writeFileSync(paths.database, 'x');
    timers.fire();
    expect(timers.waiting.map((timer) => timer.delayMs)).toContain(4);
  });

  it('is told by the file system, without waiting for a poll', async () => {
    writeFileSync(paths.database, 'x');
    ring(paths.bell, 1_000);
    await new Promise<void>((resolve) => {
      stack.use(new Doorbell(paths, resolve, { setTimer: () => () => undefined }));
      ringOn(paths.bell);
    });
  });

  it('rings once for a change that a poll has seen before its notification comes', async () => {
    writeFileSync(paths.database, 'x');
    ring(paths.bell, 1_000);
    const timers = manualTimers();
    let rings = 0;
    let changes = 0;
    stack.use(new Doorbell(paths, () => rings++, { setTimer: timers.setTimer }));
    await new Promise<void>((done) => {
      let notified = 0;
      // One that is only notified, and after the other: what it has heard has reached that one too.
      const rang = () => ++notified === 2 && setImmediate(done);
      stack.use(new Doorbell(paths, rang, { setTimer: () => () => undefined }));
      const timer = setInterval(() => {
        ring(paths.bell, 2_000);
        changes++;
        timers.fire();
      }, 20);
      stack.defer(() => clearInterval(timer));
    });
    expect(rings).toBe(changes);
  });

  it('is polled where no watch can be had: before there is a bell, and where a link lies in its place', () => {
    const timers = manualTimers();
    let rings = 0;
    symlinkSync(join(root, 'elsewhere'), paths.bell);
    stack.use(new Doorbell(paths, () => rings++, { setTimer: timers.setTimer }));
    writeFileSync(paths.database, 'x');
    timers.fire();
    rmSync(paths.bell);
    ring(paths.bell, 1_000);
    timers.fire();
    expect(rings).toBe(2);
  });

  it('does not follow a link in the place of a bell', async () => {
    const elsewhere = join(root, 'elsewhere');
    writeFileSync(paths.database, 'x');
    ring(elsewhere, 1_000);
    symlinkSync(elsewhere, paths.bell);
    let rings = 0;
    stack.use(new Doorbell(paths, () => rings++, { setTimer: () => () => undefined }));
    await new Promise<void>((resolve) => {
      const there = { database: paths.database, bell: elsewhere };
      stack.use(new Doorbell(there, resolve, { setTimer: () => () => undefined }));
      ringOn(elsewhere);
    });
    expect(rings).toBe(0);
  });

  it('finds by its next poll the second of two rings in one millisecond, which a watch may not report', async () => {
    writeFileSync(paths.database, 'x');
    ring(paths.bell, 1_000);
    let token = changeToken(paths);
    const seen: boolean[] = [];
    await new Promise<void>((resolve) => {
      const rang = () => {
        seen.push(changeToken(paths) !== token);
        token = changeToken(paths);
        // Said from within the ring, so at once after it: the throttle of a watch swallows it.
        if (seen.length === 1) ring(paths.bell, 2_000);
        else resolve();
      };
      stack.use(new Doorbell(paths, rang, { setTimer: realTimer }));
      realTimer(20, () => ring(paths.bell, 2_000));
    });
    expect(seen).toEqual([true, true]);
  });

  it('that is rung in a tight loop is heard some fifty times a second, and the event loop goes on (failure 66)', async () => {
    writeFileSync(paths.database, 'x');
    ring(paths.bell, 1_000);
    const tightLoop = `const { utimesSync } = require('node:fs');
      const end = Date.now() + 10_000;
      for (let i = 0; Date.now() < end; i++) utimesSync(${JSON.stringify(paths.bell)}, i, i);`;
    const ringer = spawn(process.execPath, ['-e', tightLoop], { stdio: 'ignore' });
    stack.defer(() => ringer.kill('SIGKILL'));
    let rings = 0;
    let floods = 0;
    let stretches = 1;
    const setTimer: SetTimer = (delayMs, action) => {
      if (delayMs >= 250) stretches++;
      return realTimer(delayMs, action);
    };
    stack.use(new Doorbell(paths, () => rings++, { setTimer, pollMaxMs: 200, onFlood: () => floods++ }));
    await new Promise<void>((done) => {
      const timer = setInterval(() => floods > 0 && done(), 10);
      stack.defer(() => clearInterval(timer));
    });
    expect(rings).toBeGreaterThan(50);
    expect(rings).toBeLessThanOrEqual(50 * stretches);
  });

  it('rings for what it did not hear once the stretch is over, and listens as before when it is quiet again', () => {
    const timers = manualTimers();
    let rings = 0;
    stack.use(new Doorbell(paths, () => rings++, { setTimer: timers.setTimer }));
    const change = () => writeFileSync(paths.database, 'x'.repeat(rings + 1));
    for (let n = 0; n < 50; n++) {
      change();
      timers.fire(5);
    }
    expect(rings).toBe(50);
    change();
    expect(timers.waiting.map(({ delayMs }) => delayMs)).toEqual([250]);
    timers.fire(250);
    expect(rings).toBe(51);
    timers.fire(500);
    change();
    timers.fire(5);
    expect(timers.waiting.map(({ delayMs }) => delayMs)).toContain(250);
  });

  it('of a session at work is heard each time: ten answers of four rings in a quarter of a second', () => {
    const timers = manualTimers();
    let rings = 0;
    stack.use(new Doorbell(paths, () => rings++, { setTimer: timers.setTimer }));
    for (let n = 1; n <= 40; n++) {
      writeFileSync(paths.database, 'x'.repeat(n));
      timers.fire(5);
      expect(rings).toBe(n);
    }
  });

  it('in a folder that cannot be looked into is no error, and what comes when it can be is heard (failure 69)', () => {
    const timers = manualTimers();
    let rings = 0;
    const folder = join(root, 'outbound');
    const there = { database: join(folder, 'x.db'), bell: join(folder, 'bell') };
    symlinkSync(folder, folder);
    stack.use(new Doorbell(there, () => rings++, { setTimer: timers.setTimer }));
    expect(changeToken(there)).toBe('ELOOP');
    timers.fire();
    expect(rings).toBe(0);
    expect(() => ring(there.bell, 1_000)).not.toThrow();
    expect(lastBeat(there.bell, 1_000)).toBeUndefined();
    rmSync(folder);
    mkdirSync(folder);
    writeFileSync(there.database, 'x');
    timers.fire();
    expect(rings).toBe(1);
  });

  it('leaves no timer behind when it is closed', () => {
    const timers = manualTimers();
    const bell = new Doorbell(paths, () => undefined, { setTimer: timers.setTimer });
    writeFileSync(paths.database, 'x');
    timers.fire();
    bell[Symbol.dispose]();
    expect(timers.waiting).toEqual([]);
  });

  it('has a token that changes with each ring, also within one tick of the clock and when it goes back', () => {
    writeFileSync(paths.database, 'x');
    const tokens = [changeToken(paths)];
    for (const now of [5_000, 5_000, 5_000, 4_000]) {
      ring(paths.bell, now);
      tokens.push(changeToken(paths)?.replace(/:[^:]*(:[^:]*)$/, '$1'));
    }
    expect(new Set(tokens).size).toBe(5);
  });
});
