/** What a run really sees of the disk: extra folders and skills, on a real engine. */
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ENGINE, EngineBench } from './engine-bench.ts';

describe.skipIf(ENGINE === '')('from inside a run', () => {
  let bench: EngineBench;
  beforeEach(async () => {
    bench = await EngineBench.open();
    // The mount alone is to stand between the run and what lies there.
    for (const name of ['shared', 'private']) {
      mkdirSync(place(name));
      chmodSync(place(name), 0o777);
      writeFileSync(join(place(name), 'text'), `the text of ${name}`);
    }
  });
  afterEach(() => bench.close());

  const place = (name: string) => join(bench.folder, name);
  const wish = (name: string, isWritable: boolean) =>
    bench.set({ mounts: [{ source: place(name), name: 'extra', isWritable }] });
  const LOOK =
    'cd /workspace/extra/extra 2>/dev/null || { echo nothing; exit 0; }; cat text; echo; touch new && echo written';

  it('an extra folder can be read, and written only where both sides say so', async () => {
    const seen: string[] = [];
    for (const [isWished, isAllowed] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      bench.allow([{ path: place('shared'), isWritable: isAllowed }]);
      await wish('shared', isWished);
      seen.push(await bench.said(`r${seen.length}`, LOOK));
    }
    expect(seen[0]).toBe('the text of shared\nwritten');
    for (const readonly of seen.slice(1))
      expect(readonly).toMatch(/^the text of shared\ntouch: .*Read-only file system$/);
  });

  it('a folder with a sensitive name in it is not there', async () => {
    writeFileSync(join(place('shared'), '.env'), 'KEY=1');
    bench.allow([{ path: place('shared'), isWritable: true }]);
    await wish('shared', true);
    expect(await bench.said('r1', LOOK)).toBe('nothing');
    expect(bench.refusals).toEqual([expect.stringMatching(/\.env is a name that secrets go by/)]);
  });

  it('a folder that was swapped for a link to somewhere else is not there, nor is what the link leads to', async () => {
    mkdirSync(place('top'));
    mkdirSync(join(place('top'), 'inner'));
    bench.allow([{ path: place('top'), isWritable: true }]);
    await bench.set({ mounts: [{ source: join(place('top'), 'inner'), name: 'extra', isWritable: true }] });
    expect(await bench.said('r1', 'ls -d /workspace/extra/extra')).toBe('/workspace/extra/extra');
    rmSync(join(place('top'), 'inner'), { recursive: true });
    symlinkSync(place('private'), join(place('top'), 'inner'));
    expect(await bench.said('r2', LOOK)).toBe('nothing');
    expect(readFileSync(join(place('private'), 'text'), 'utf8')).toBe('the text of private');
  });

  it('exactly the chosen skills are there, read-only, and another choice is seen by the next run', async () => {
    for (const name of ['a', 'b', 'c']) {
      mkdirSync(join(place('project/skills'), name), { recursive: true });
      writeFileSync(join(place('project/skills'), name, 'SKILL.md'), name);
    }
    await bench.set({ skills: ['a', 'c'] });
    const first = await bench.spec('r0', '');
    expect(await bench.said('r1', 'ls /app/skills; touch /app/skills/a/x')).toMatch(
      /^a\nc\ntouch: .*Read-only file system$/,
    );
    await bench.set({ skills: 'all' });
    expect(await bench.said('r2', 'ls /app/skills')).toBe('a\nb\nc');
    const source = (spec: typeof first) => spec.mounts.find(({ target }) => target === '/app/skills')?.source;
    expect(source(await bench.spec('r0', ''))).not.toBe(source(first));
  });
});
