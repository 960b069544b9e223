import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DEFAULT_LIMITS, EngineClient, EngineError, SpawnError, type SpawnProblem } from '@nanoclaw/containers';
import { type AgentGroup, type AgentGroupSettings, openRegistry, type Registry } from '@nanoclaw/registry';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataFolder } from '../src/data/data-folder.ts';
import { DEFAULT_SETTINGS } from '../src/data/settings.ts';
import type { ContainerIsolation } from '../src/runs/driver-choice.ts';
import { GroupImages, type GroupImagesOptions, type Rebuilt } from '../src/runs/group-images.ts';

/**
 * A stand-in for an engine's client. An image is a file in `images/` by the name of its tag, with id, protocol version and
 * base. A build talks, waits while `hold` is there, and fails while `fail` is. What it is asked goes into `asked`.
 */
const CLIENT = `#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>asked
case "$1 $2" in
"image inspect")
  for last; do :; done
  for file in images/*; do
    [ -e "$file" ] || continue
    read -r id protocol base <"$file"
    if [ "$last" = "$id" ] || [ "$last" = "nanoclaw-group:$(basename "$file")" ]; then
      [ "$3" = --format ] && { echo "nanoclaw-group:$(basename "$file")"; exit; }
      echo '[{"Id":"'$id'","Config":{"Labels":{"io.nanoclaw.protocol":"'$protocol'","io.nanoclaw.base":"'$base'"}}}]'
      exit
    fi
  done
  echo "Error: No such image: $last" >&2
  exit 1;;
"build --pull=false")
  echo "Step 1"; echo; echo "Step 2"
  while [ -e hold ]; do sleep 0.02; done
  [ -e fail ] && { echo "E: Unable to locate package nonsense"; exit 100; }
  id=sha256:$(sha256sum "$4/Dockerfile" | cut -c1-64)
  echo "$id ${PROTOCOL_VERSION} $(sed -n 's/^LABEL io.nanoclaw.base=\\([^ ]*\\).*/\\1/p' "$4/Dockerfile")" >"images/\${3#--tag=nanoclaw-group:}";;
"images --quiet") for file in images/*; do [ -e "$file" ] && cut -d' ' -f1 "$file"; done; exit 0;;
"rmi nanoclaw-group:"*) rm "images/\${2#nanoclaw-group:}";;
tag* | "rmi nanoclaw-from:"*) ;;
*) exit 1;;
esac
`;

const PROTOCOL = String(PROTOCOL_VERSION);
const BASE = { id: `sha256:${'b'.repeat(64)}`, labels: { 'io.nanoclaw.protocol': PROTOCOL } };
const JQ: Partial<AgentGroupSettings> = { packages: { apt: ['jq'], npm: [] } };

let folder: string;
let registry: Registry;
let agent: AgentGroup;
let changed: (string | null | undefined)[];
let mended: Rebuilt[];
let isolation: ContainerIsolation;
let images: GroupImages;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'images-'));
  for (const name of ['images', 'data']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'engine'), CLIENT, { mode: 0o755 });
  let ids = 0;
  registry = await openRegistry({ file: join(folder, 'registry.db'), now: () => 1, newId: () => `id-${++ids}` });
  agent = await registry.createAgentGroup({
    folder: 'main',
    name: 'Nano',
    provider: 'offline',
    model: null,
    effort: null,
    assistantName: null,
    messagesPerPrompt: 10,
  });
  changed = [];
  mended = [];
  isolation = {
    type: 'container',
    engine: 'docker',
    client: new EngineClient({
      kind: 'docker',
      executable: join(folder, 'engine'),
      env: { PATH: process.env['PATH'] ?? '' },
    }),
    version: '28.0',
    isRootless: false,
    images: { slim: BASE, claude: undefined },
    user: { uid: 1000, gid: 1000 },
    limits: DEFAULT_LIMITS,
  };
  images = imagesWith({});
});
afterEach(async () => {
  for (const name of ['hold', 'fail']) rmSync(join(folder, name), { force: true });
  await images.close();
  await registry.close();
  rmSync(folder, { recursive: true });
});

function imagesWith(options: Partial<GroupImagesOptions>): GroupImages {
  const made = new GroupImages({
    registry,
    isolation,
    installId: 'install',
    data: dataFolder(join(folder, 'data')),
    config: DEFAULT_SETTINGS,
    providerOf: ({ provider }) => provider,
    setTimer: (ms, action) => {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
    onMended: (_id, rebuilt) => void mended.push(rebuilt),
    ...options,
  });
  made.whenChanged(async (id) => void changed.push((await registry.agentGroup(id))?.image));
  return made;
}

const rebuild = (onProgress: (line: string) => void = () => undefined) => images.rebuild(agent.id, onProgress);
const inForce = async () => (await registry.agentGroup(agent.id))?.image;
const builds = () => readFileSync(join(folder, 'asked'), 'utf8').match(/^build /gm)?.length ?? 0;
const flag = (name: 'hold' | 'fail') => writeFileSync(join(folder, name), '');

/** The image that the group's next run would have, or why there is none. */
async function imageOfRun(): Promise<string | SpawnProblem> {
  const now = await registry.agentGroup(agent.id);
  if (now === undefined) throw new Error('the agent is gone');
  try {
    return (await images.imageFor(now, 'offline', isolation)).id;
  } catch (error) {
    if (error instanceof SpawnError) return error.problem;
    throw error;
  }
}

async function until(see: () => boolean): Promise<void> {
  for (let look = 0; look < 500 && !see(); look += 1) await delay(20);
  expect(see()).toBe(true);
}

describe('building the image of a group', () => {
  it('tells how far it is, puts the image in force and has the runs replaced', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    const lines: string[] = [];
    const rebuilt = await rebuild((line) => void lines.push(line));
    expect(lines).toEqual(['Step 1', '', 'Step 2']);
    expect(rebuilt).toEqual({ type: 'built', image: await inForce() });
    expect(changed).toEqual([await inForce()]);
    expect(await imageOfRun()).toBe(await inForce());
  });

  it('takes what was built of the same parts before', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    const first = await rebuild();
    expect(await rebuild()).toEqual(first);
    expect(builds()).toBe(1);
  });

  it('goes back to the common image when there are no packages any more, and removes the group’s', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    await registry.updateAgentGroup(agent.id, { packages: { apt: [], npm: [] } });
    expect(await rebuild()).toEqual({ type: 'common' });
    expect(await imageOfRun()).toBe(BASE.id);
    expect(readdirSync(join(folder, 'images'))).toEqual([]);
  });

  it('that fails leaves the image of before in force and says why, with the engine’s last words', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    const before = await inForce();
    await registry.updateAgentGroup(agent.id, { packages: { apt: ['jq', 'nonsense'], npm: [] } });
    flag('fail');
    const failed = await rebuild();
    expect(failed).toMatchObject({ type: 'failed', reason: expect.stringMatching(/Step 2\nE: Unable to locate/) });
    expect(await inForce()).toBe(before);
    expect(changed).toEqual([before]);
    expect(await imageOfRun()).toBe(before);
  });

  it('is broken off by a newer request, which builds what is wanted by then', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    flag('hold');
    let isBuilding = false;
    const first = rebuild(() => {
      isBuilding = true;
    });
    await until(() => isBuilding);
    await registry.updateAgentGroup(agent.id, { packages: { apt: ['jq', 'ripgrep'], npm: [] } });
    const second = rebuild();
    expect(await first).toEqual({ type: 'broken-off', reason: 'a newer request took its place' });
    rmSync(join(folder, 'hold'));
    expect(await second).toMatchObject({ type: 'built' });
    expect(changed).toHaveLength(1);
    const recipe = join(folder, 'data', 'generated', agent.id, 'image', 'Dockerfile');
    expect(readFileSync(recipe, 'utf8')).toContain('jq ripgrep');
  });

  it('is broken off when the host stops', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    flag('hold');
    let isBuilding = false;
    const building = rebuild(() => {
      isBuilding = true;
    });
    await until(() => isBuilding);
    await images.close();
    expect(await building).toEqual({ type: 'broken-off', reason: 'the host stops' });
    expect(await inForce()).toBeNull();
  });

  it('is in force although the engine failed to stop the runs of the old one', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    images.whenChanged(() => Promise.reject(new EngineError('no answer')));
    expect(await rebuild()).toEqual({ type: 'built', image: await inForce() });
  });

  it('is refused without an engine, and with a name that is none', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    images = imagesWith({ isolation: { type: 'none', because: 'it is a test' } });
    expect(await rebuild()).toMatchObject({ type: 'failed', reason: expect.stringContaining('without containers') });
    expect(existsSync(join(folder, 'asked'))).toBe(false);
  });
});

/** The engine forgets all its images. */
function lose(): void {
  rmSync(join(folder, 'images'), { recursive: true });
  mkdirSync(join(folder, 'images'));
}

describe('the image of a run', () => {
  it('that is missing is a failed start with a reason of its own, and is built anew once', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    const before = await inForce();
    lose();
    expect(await imageOfRun()).toMatchObject({ type: 'no-image', image: before });
    await until(() => mended.length === 1);
    expect(mended).toEqual([{ type: 'built', image: before }]);
    expect(await imageOfRun()).toBe(before);
    expect(builds()).toBe(2);
  });

  it('that is missing and cannot be built is not tried again with every start', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    lose();
    flag('fail');
    for (let start = 0; start < 5; start += 1) {
      expect(await imageOfRun()).toMatchObject({ type: 'no-image' });
      await until(() => mended.length === 1);
    }
    expect(mended).toMatchObject([{ type: 'failed' }]);
    expect(builds()).toBe(2);
    // Until something about it has changed.
    await registry.updateAgentGroup(agent.id, { packages: { apt: ['ripgrep'], npm: [] } });
    rmSync(join(folder, 'fail'));
    expect(await imageOfRun()).toMatchObject({ type: 'no-image' });
    await until(() => mended.length === 2);
    expect(await imageOfRun()).toBe(await inForce());
  });

  it('of another protocol version is a failed start, and is built anew', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    const [name = ''] = readdirSync(join(folder, 'images'));
    rmSync(join(folder, 'images', name));
    writeFileSync(join(folder, 'images', 'old'), `${await inForce()} 999 ${BASE.id}\n`);
    expect(await imageOfRun()).toMatchObject({ type: 'wrong-image', wanted: PROTOCOL_VERSION, found: '999' });
    await until(() => mended.length === 1);
    expect(mended).toMatchObject([{ type: 'built' }]);
  });

  it('made of a common image that was replaced is used until it is built anew', async () => {
    await registry.updateAgentGroup(agent.id, JQ);
    await rebuild();
    const before = await inForce();
    const slim = { ...BASE, id: `sha256:${'c'.repeat(64)}` };
    isolation = { ...isolation, images: { slim, claude: undefined } };
    images = imagesWith({});
    expect(await imageOfRun()).toBe(before);
    await until(() => mended.length === 1);
    expect(await imageOfRun()).not.toBe(before);
    expect(await inForce()).toBe(await imageOfRun());
  });

  it('that somebody has named by hand is theirs: never replaced, and told when it is missing', async () => {
    await registry.updateAgentGroup(agent.id, { image: 'my-own:latest' });
    expect(await imageOfRun()).toMatchObject({ type: 'no-image', image: 'my-own:latest' });
    await delay(50);
    expect(mended).toEqual([]);
    expect(await inForce()).toBe('my-own:latest');
  });

  it('for Claude is none where there is only the slim one', async () => {
    await expect(images.imageFor(agent, 'claude', isolation)).rejects.toThrow(/nanoclaw-agent:claude is not on this/);
  });
});
