/**
 * `nanoclaw doctor`: looks at what the agents of this machine need, one thing after the other, and says what to do about
 * each that is wrong. The last check is the real thing in small: a run like an agent's, and both sides of a session's two
 * files seen from both sides.
 */
import { chmodSync, lchownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Driver, EngineClient, extraMounts, LABELS, type RunSpec, SpawnError } from '@nanoclaw/containers';
import { dataFolder } from '@nanoclaw/host/data';
import { messageOf } from '@nanoclaw/host/errors';
import {
  type AbsentEngine,
  type ContainerIsolation,
  chooseIsolation,
  clientEnvironment,
  ENGINES,
  guardedPlaces,
  type Isolation,
  imageNames,
  isolationSentence,
  type Machine,
  networkFor,
  providerOf,
  skillsIn,
} from '@nanoclaw/host/runs';
import type { AgentGroup } from '@nanoclaw/registry';
import { replaceFile } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { PROTOCOL_VERSION } from '@nanoclaw/session-db/protocol';
import type { Check } from './check.ts';
import type { Config } from './config.ts';

export interface DoctorOptions {
  /** The data folder, absolute. Made where it is missing; what the trial run leaves is removed. */
  readonly dataFolder: string;
  readonly config: Config;
  readonly machine: Machine;
  /** The agents of this install; none where there is no registry yet. */
  readonly agents: readonly AgentGroup[];
  /** What of the host's environment reaches the model's client. */
  readonly modelEnv: Readonly<Record<string, string>>;
  /** The folder with the bundled agent-runner. */
  readonly runnerFolder: string;
  /** The folder with the skills of this version. */
  readonly skillsFolder: string;
  /** The names of the drivers that the configuration brings. */
  readonly drivers: readonly string[];
  /** The driver that a host would take, for an install that only the doctor uses, with its records in `stateFolder`. */
  readonly driver: (isolation: Isolation, installId: string, stateFolder: string) => Driver | Promise<Driver>;
  readonly newId: () => string;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Looks at everything that agents need and reports it in order, as plain data. Rejects only for what nobody thought of. */
export async function diagnose(options: DoctorOptions): Promise<readonly Check[]> {
  const { config, machine } = options;
  const engines = await engineChecks(config, machine);
  const isolation: Isolation = options.drivers.includes(config.driver)
    ? { type: 'custom', driver: config.driver }
    : await chooseIsolation(config, machine);
  const verdicts = { container: 'ok', custom: 'ok', none: 'note', absent: 'trouble' } as const;
  return [
    ...engines,
    { what: 'isolation', verdict: verdicts[isolation.type], finding: isolationSentence(isolation) },
    ...networkChecks(isolation, options),
    ...(await mountChecks(options)),
    ...skillChecks(options),
    ...(await imageChecks(isolation, options)),
    // A run with less than what the configuration names is never started, not even to try.
    ...(isolation.type === 'absent' ? [] : [await trial(isolation, options)]),
  ];
}

/** The checks as text, a line each, worst mark first on the line. */
export function report(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ what }) => what.length));
  return checks.map(({ verdict, what, finding }) => `${verdict.padEnd(9)}${what.padEnd(width)}  ${finding}`).join('\n');
}

async function engineChecks(config: Config, { env }: Machine): Promise<readonly Check[]> {
  const wanted = ENGINES.filter((kind) => config.driver === 'auto' || config.driver === kind);
  const checks: Check[] = [];
  for (const kind of wanted) {
    const client = new EngineClient({ kind, env: clientEnvironment(env) });
    const state = await client.state();
    if (state.type === 'unusable') {
      const finding = `It cannot be used (${state.reason}). Install it or start it, unless you use another.`;
      checks.push({ what: kind, verdict: 'note', finding });
      continue;
    }
    const how = state.isRootless ? 'without root' : 'as root';
    checks.push({ what: kind, verdict: 'ok', finding: `Version ${state.version}, ${how}, ${state.cpus} processors.` });
    for (const name of new Set(Object.values(imageNames(config)))) checks.push(await imageCheck(client, name));
  }
  return checks;
}

async function imageCheck(client: EngineClient, name: string): Promise<Check> {
  const what = `${client.kind} image`;
  const build = `node scripts/image.mjs --engine ${client.kind}${name.endsWith(':claude') ? ' --variant claude' : ''}`;
  const image = await client.image(name);
  if (image === undefined) return { what, verdict: 'note', finding: `${name} is not there. Build it: ${build}` };
  const version = image.labels[LABELS.protocol];
  if (version === String(PROTOCOL_VERSION))
    return { what, verdict: 'ok', finding: `${name} is ${image.id.slice(0, 19)}.` };
  const found = version === undefined ? 'does not say which version it speaks' : `speaks version ${version}`;
  return {
    what,
    verdict: 'trouble',
    finding: `${name} ${found}, and this host ${PROTOCOL_VERSION}. Build it anew: ${build}`,
  };
}

/** Who can reach a network from inside, said loudly: it is the one way out that a closed container has. */
function networkChecks(isolation: Isolation, { agents, config, modelEnv }: DoctorOptions): readonly Check[] {
  if (isolation.type === 'none' || isolation.type === 'custom') return [];
  const open = new Map<string, string[]>();
  for (const agent of agents) {
    const network = networkFor(providerOf(agent, config, modelEnv), config, modelEnv, agent.network);
    if (network.type === 'named') open.set(network.name, [...(open.get(network.name) ?? []), agent.name]);
  }
  if (open.size === 0) return [{ what: 'network', verdict: 'ok', finding: 'No agent can reach a network.' }];
  return [...open].map(([network, names]) => ({
    what: 'network',
    verdict: 'note',
    finding:
      `${listed(names)} can reach whatever the engine's network "${network}" reaches, which may be the whole internet and ` +
      'this machine. Claude needs it unless ANTHROPIC_UNIX_SOCKET names a socket; NANOCLAW_NETWORK, or the network of ' +
      'an agent, names another one, or "none".',
  }));
}

/** What agents wish to see of this machine's disk, and what of it the owner's list does not grant. */
async function mountChecks(options: DoctorOptions): Promise<readonly Check[]> {
  const { agents, config, dataFolder: root } = options;
  const what = 'mounts';
  const wishing = agents.filter(({ mounts }) => mounts.length > 0);
  if (wishing.length === 0) return [{ what, verdict: 'ok', finding: 'No agent asks for a folder of this machine.' }];
  const checks: Check[] = [];
  for (const { name, mounts: wishes } of wishing) {
    const guarded = guardedPlaces({ ...options, data: dataFolder(root) });
    const { mounts, refusals } = await extraMounts(wishes, config.mountAllowlist, guarded);
    for (const { source, readonly } of mounts) {
      checks.push({ what, verdict: 'ok', finding: `${name} ${readonly ? 'reads' : 'reads and writes'} ${source}.` });
    }
    for (const refusal of refusals) checks.push({ what, verdict: 'note', finding: `${name}: ${refusal}` });
  }
  return checks;
}

function skillChecks({ agents, skillsFolder }: DoctorOptions): readonly Check[] {
  const known = skillsIn(skillsFolder);
  return agents.flatMap(({ name, skills }) => {
    const missing = skills === 'all' ? [] : skills.filter((skill) => !known.includes(skill));
    if (missing.length === 0) return [];
    const finding = `${name} is to have ${listed(missing)}, and there is no such skill; there are ${listed(known)}.`;
    return [{ what: 'skills', verdict: 'note', finding }];
  });
}

/** The images of agents that have packages of their own. */
async function imageChecks(isolation: Isolation, { agents }: DoctorOptions): Promise<readonly Check[]> {
  if (isolation.type !== 'container') return [];
  const checks: Check[] = [];
  for (const { name, image, packages } of agents) {
    const wanted = [...packages.apt, ...packages.npm];
    if (image !== null) checks.push(await groupImageCheck(name, image, isolation));
    else if (wanted.length > 0) {
      const finding = `${name} is to have ${listed(wanted)}, and no image was built with them yet: it runs without.`;
      checks.push({ what: 'agent image', verdict: 'note', finding });
    }
  }
  return checks;
}

async function groupImageCheck(agent: string, name: string, { client }: ContainerIsolation): Promise<Check> {
  const what = 'agent image';
  const image = await client.image(name);
  if (image === undefined) {
    const finding = `The image of ${agent}, ${name}, is not there; the host builds it anew when ${agent} is to start.`;
    return { what, verdict: 'trouble', finding };
  }
  if (image.labels[LABELS.protocol] === String(PROTOCOL_VERSION)) {
    return { what, verdict: 'ok', finding: `${agent} has one of its own, ${image.id.slice(0, 19)}.` };
  }
  const finding = `The image of ${agent} is of another version; the host builds it anew when ${agent} is to start.`;
  return { what, verdict: 'trouble', finding };
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : new Intl.ListFormat('en').format(names);
}

/** How long the trial may take to answer each question. */
const ANSWER_LOOKS = 200;
const LOOK_EVERY_MS = 50;

/**
 * Starts a run with the mounts of a session, on the disk of the data folder, and passes a number to and fro through two
 * databases while it lives: each side must see what the other has committed.
 */
async function trial(isolation: Exclude<Isolation, AbsentEngine>, options: DoctorOptions): Promise<Check> {
  const what = 'trial run';
  const installId = `doctor-${options.newId()}`;
  let made: string | undefined;
  let folder: string | undefined;
  let driver: Driver | undefined;
  try {
    // A data folder that is not there yet is the start's to make: what of it had to be made goes again.
    made = mkdirSync(options.dataFolder, { recursive: true, mode: 0o700 });
    folder = mkdtempSync(join(options.dataFolder, 'doctor-'));
    driver = await options.driver(isolation, installId, join(folder, 'runs'));
    const places = preparePlaces(folder, isolation);
    const run = await driver.start(trialSpec(places, isolation, installId));
    try {
      if (!(await answered(places.outbound, 1, options))) return { what, verdict: 'trouble', finding: UNSEEN };
      sayNumber(places.inbound, 2);
      if (!(await answered(places.outbound, 2, options))) return { what, verdict: 'trouble', finding: STALE };
      const intruded = heard(places.outbound).includes(INTRUDED);
      if (intruded && isolation.type === 'container') return { what, verdict: 'trouble', finding: OPEN };
      return { what, verdict: 'ok', finding: 'An agent starts, and each side sees what the other has written.' };
    } finally {
      await driver.stop(run.runId, 1_000);
    }
  } catch (error) {
    if (!(error instanceof SpawnError) && !(error instanceof Error && 'code' in error)) throw error;
    return { what, verdict: 'trouble', finding: messageOf(error) };
  } finally {
    driver?.close();
    const left = made ?? folder;
    if (left !== undefined) rmSync(left, { recursive: true, force: true });
  }
}

const UNSEEN =
  'The agent started and could not read what the host had written, or write an answer. See that the data folder can be ' +
  'shared with the engine (on a Mac: its list of shared folders) and lies on a local disk.';
const STALE =
  'The agent did not see what the host wrote after it had started. The disk of the data folder does not show changes ' +
  'across the engine: put the data folder on a local disk.';
const OPEN = 'The agent could write where it may only read. Do not use this engine for agents that you do not trust.';

/** What the run writes down when it could write into the inbound folder. */
const INTRUDED = -1;

interface Places {
  readonly inbound: string;
  readonly outbound: string;
  readonly program: string;
  readonly logFile: string;
}

function preparePlaces(folder: string, isolation: Isolation): Places {
  const places: Places = {
    inbound: join(folder, 'inbound'),
    outbound: join(folder, 'outbound'),
    program: join(folder, 'program'),
    logFile: join(folder, 'log'),
  };
  for (const place of [places.inbound, places.outbound, places.program]) mkdirSync(place);
  // So that only the mount itself stands between the agent and the folder.
  chmodSync(places.inbound, 0o777);
  if (isolation.type === 'container') lchownSync(places.outbound, isolation.user.uid, isolation.user.gid);
  replaceFile(join(places.program, 'probe.js'), PROBE, 0o644);
  sayNumber(places.inbound, 1);
  return places;
}

function trialSpec(places: Places, isolation: Isolation, installId: string): RunSpec {
  const image = isolation.type === 'container' ? (isolation.images.slim ?? isolation.images.claude) : undefined;
  return {
    runId: 'trial',
    sessionId: 'trial',
    installId,
    command: ['bun', '/app/config/probe.js', '/workspace/inbound', '/workspace/outbound'],
    workdir: '/workspace/outbound',
    mounts: [
      { source: places.inbound, target: '/workspace/inbound', readonly: true },
      { source: places.outbound, target: '/workspace/outbound', readonly: false },
      { source: places.program, target: '/app/config', readonly: true },
    ],
    env: {},
    timeZone: 'UTC',
    labels: {},
    logFile: places.logFile,
    ...(isolation.type === 'container' &&
      image && {
        sandbox: {
          image: image.id,
          protocolVersion: PROTOCOL_VERSION,
          network: { type: 'none' },
          user: isolation.user,
          limits: isolation.limits,
        },
      }),
  };
}

async function answered(outbound: string, number: number, { sleep }: DoctorOptions): Promise<boolean> {
  for (let look = 0; look < ANSWER_LOOKS; look += 1) {
    if (heard(outbound).includes(number)) return true;
    await sleep(LOOK_EVERY_MS);
  }
  return false;
}

function sayNumber(inbound: string, number: number): void {
  const db = openSqlite(join(inbound, 'trial.db'), 'create');
  try {
    db.exec('PRAGMA busy_timeout = 2000');
    db.exec('CREATE TABLE IF NOT EXISTS numbers (n INTEGER) STRICT');
    db.exec(`INSERT INTO numbers (n) VALUES (${number})`);
  } finally {
    db.close();
  }
}

/** The numbers that the run has written so far; none while it has not, or is writing. */
function heard(outbound: string): number[] {
  try {
    const db = openSqlite(join(outbound, 'trial.db'), 'read');
    try {
      return db.all<{ n: number }>('SELECT n FROM numbers').map(({ n }) => n);
    } finally {
      db.close();
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error) return [];
    throw error;
  }
}

/** The program of the trial run, for Bun: repeats each number that it sees, until 2 or for half a minute. */
const PROBE = `
import { Database } from 'bun:sqlite';
import { writeFileSync } from 'node:fs';
const [inbound, outbound] = process.argv.slice(2);
process.on('SIGTERM', () => process.exit(0));
const out = new Database(outbound + '/trial.db', { create: true });
out.run('CREATE TABLE numbers (n INTEGER) STRICT');
try {
  writeFileSync(inbound + '/intruded', '');
  out.run('INSERT INTO numbers (n) VALUES (${INTRUDED})');
} catch (error) {
  console.log('as it should be:', error.code);
}
let last = 0;
for (let look = 0; look < 1200 && last < 2; look += 1) {
  try {
    const db = new Database(inbound + '/trial.db', { readonly: true });
    const { n } = db.query('SELECT max(n) AS n FROM numbers').get();
    db.close();
    if (n > last) out.run('INSERT INTO numbers (n) VALUES (?)', [n]);
    last = n;
  } catch (error) {
    console.log('not yet:', error.message);
  }
  await Bun.sleep(25);
}
await Bun.sleep(30_000);
`;
