import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extraMounts, sessionMounts } from '../src/index.ts';
import { extraMount, isSensitive, type MountRequest } from '../src/mounts.ts';

describe('what a session sees', () => {
  it('is this, line by line', () => {
    const extra = { source: '/srv/shared', target: '/workspace/extra/shared', readonly: true };
    expect(
      sessionMounts({
        inbound: '/d/in',
        outbound: '/d/out',
        agent: '/d/agent',
        state: '/d/state',
        config: '/d/config',
        runner: '/p/runner',
        skills: '/d/skills',
        extras: [extra],
      }),
    ).toEqual([
      { source: '/d/in', target: '/workspace/inbound', readonly: true },
      { source: '/d/out', target: '/workspace/outbound', readonly: false },
      { source: '/d/agent', target: '/workspace/agent', readonly: false },
      { source: '/d/state', target: '/workspace/state', readonly: false },
      { source: '/d/config', target: '/app/config', readonly: true },
      { source: '/p/runner', target: '/app/src', readonly: true },
      { source: '/d/skills', target: '/app/skills', readonly: true },
      extra,
    ]);
  });
});

const wish = (source: string, isWritable = false): MountRequest => ({ source, name: basename(source), isWritable });

describe('an extra mount', () => {
  const allowed = [
    { path: '/srv', isWritable: true },
    { path: '/srv/archive', isWritable: false },
  ];
  const verdict = (source: string, isWritable = false) =>
    extraMount(wish(source, isWritable), { path: source, names: [] }, allowed);

  it('lies beneath what the owner allows', () => {
    expect(verdict('/srv/music')).toEqual({ source: '/srv/music', target: '/workspace/extra/music', readonly: true });
    expect(verdict('/srvx/music')).toMatch(/list of what is allowed/);
    expect(verdict('/etc')).toMatch(/list of what is allowed/);
  });

  it('is writable only where both sides say so, and the closest entry speaks', () => {
    expect(verdict('/srv/music', true)).toMatchObject({ readonly: false });
    expect(verdict('/srv/music', false)).toMatchObject({ readonly: true });
    expect(verdict('/srv/archive/2025', true)).toMatchObject({ readonly: true });
  });

  it('has a name that is one', () => {
    for (const name of ['..', '.', 'a/b', '', '-x', 'a,b']) {
      const place = { path: '/srv/music', names: [] };
      expect(extraMount({ source: '/srv/music', name, isWritable: false }, place, allowed)).toMatch(/name inside/);
    }
  });

  it.each(['.ssh', '.env', '.env.local', '.aws', 'id_ed25519', 'server.pem', 'docker.sock', '.SSH', 'Private_Key.txt'])(
    'is refused where %s is part of the path or lies in it',
    (name) => {
      expect(isSensitive(name)).toBe(true);
      expect(extraMount(wish('/srv/x'), { path: `/srv/${name}/x`, names: [] }, allowed)).toMatch(/secrets/);
      expect(extraMount(wish('/srv/x'), { path: '/srv/x', names: ['readme', name] }, allowed)).toMatch(/secrets/);
    },
  );
});

describe('the list of what is allowed', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'mounts-')));
    file = join(folder, 'mounts.json');
    for (const name of ['shared', 'other', 'project']) mkdirSync(join(folder, name));
    writeFileSync(file, JSON.stringify([{ path: join(folder, 'shared'), isWritable: false }]), { mode: 0o600 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const mounted = (...sources: string[]) =>
    extraMounts(
      sources.map((source) => wish(source, true)),
      file,
      [join(folder, 'project')],
    );

  it('grants what it has and refuses the rest, each by itself', async () => {
    const { mounts, refusals } = await mounted(join(folder, 'shared'), join(folder, 'other'), join(folder, 'nowhere'));
    expect(mounts).toEqual([{ source: join(folder, 'shared'), target: '/workspace/extra/shared', readonly: true }]);
    expect(refusals).toHaveLength(2);
    expect(refusals[1]).toMatch(/nowhere is not mounted: it does not exist/);
  });

  it('judges a link by where it leads', async () => {
    symlinkSync(join(folder, 'other'), join(folder, 'shared', 'way-out'));
    expect((await mounted(join(folder, 'shared', 'way-out'))).mounts).toEqual([]);
    symlinkSync(join(folder, 'shared'), join(folder, 'way-in'));
    expect((await mounted(join(folder, 'way-in'))).mounts).toMatchObject([{ source: join(folder, 'shared') }]);
  });

  it('allows nothing where it is missing, a link, writable by others, no list, or within reach', async () => {
    const reason = async () => (await mounted(join(folder, 'shared'))).refusals[0];
    chmodSync(file, 0o622);
    expect(await reason()).toMatch(/can be written by others/);
    writeFileSync(file, '{}');
    chmodSync(file, 0o600);
    expect(await reason()).toMatch(/is not a list/);
    rmSync(file);
    expect(await reason()).toMatch(/does not exist/);
    writeFileSync(join(folder, 'project', 'list.json'), '[]', { mode: 0o600 });
    symlinkSync(join(folder, 'project', 'list.json'), file);
    expect(await reason()).toMatch(/not a plain file/);
    file = join(folder, 'project', 'list.json');
    expect(await reason()).toMatch(/could be changed from inside/);
  });

  it('is not even read when nobody wishes anything', async () => {
    file = join(folder, 'nowhere.json');
    expect(await mounted()).toEqual({ mounts: [], refusals: [] });
  });

  it('never shows an agent what is NanoClaw’s own, nor what holds it', async () => {
    writeFileSync(file, JSON.stringify([{ path: folder, isWritable: false }]));
    mkdirSync(join(folder, 'project', 'inner'));
    for (const own of ['project', 'project/inner', '.']) {
      const { mounts, refusals } = await mounted(join(folder, own));
      expect(mounts).toEqual([]);
      expect(refusals[0]).toMatch(/project is NanoClaw's own/);
    }
  });

  it('cannot be changed through what it allows', async () => {
    mkdirSync(join(folder, 'lists'));
    file = join(folder, 'lists', 'mounts.json');
    const list = (isWritable: boolean) =>
      writeFileSync(file, JSON.stringify([{ path: join(folder, 'lists'), isWritable }]), { mode: 0o600 });
    list(true);
    expect((await mounted(join(folder, 'lists'))).refusals[0]).toMatch(/could be changed/);
    list(false);
    expect((await mounted(join(folder, 'lists'))).mounts).toMatchObject([{ readonly: true }]);
  });

  it('does not grant a part of what the agent writes, for a link could be put there', async () => {
    writeFileSync(file, JSON.stringify([{ path: join(folder, 'shared'), isWritable: true }]));
    const part = join(folder, 'shared', 'part');
    mkdirSync(part);
    for (const order of [
      [part, join(folder, 'shared')],
      [join(folder, 'shared'), part],
    ]) {
      const { mounts, refusals } = await mounted(...order);
      expect(mounts).toMatchObject([{ source: join(folder, 'shared'), readonly: false }]);
      expect(refusals[0]).toMatch(/part is not mounted: it lies in another folder that the agent writes/);
    }
  });

  it('gives one name once', async () => {
    mkdirSync(join(folder, 'shared', 'shared'));
    const { mounts, refusals } = await mounted(join(folder, 'shared'), join(folder, 'shared', 'shared'));
    expect(mounts).toHaveLength(1);
    expect(refusals[0]).toMatch(/another one has the name shared/);
  });
});
