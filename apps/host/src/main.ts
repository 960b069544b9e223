/**
 * The program, once `entry.ts` has seen that this Node can run it: what somebody typed, the command that is meant, and how
 * its result and its failure are told. With `daemon.ts` and `process.ts` it is the one place that knows the process,
 * its environment, its clock and its terminal. Everything below is handed what it needs.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { resolve as absolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { terminalSocketPath } from '@nanoclaw/channels/terminal';
import { Guard } from '@nanoclaw/guard';
import {
  backup,
  type DataFolder,
  dataFolder,
  restore,
  restoreSessionFrom,
  type SavedSession,
  takeLease,
} from '@nanoclaw/host/data';
import { messageOf, Problem } from '@nanoclaw/host/errors';
import { readModuleReferences } from '@nanoclaw/host/modules';
import {
  type ExecuteOptions,
  execute,
  OPERATOR_COMMANDS,
  type OperatorCommand,
  parseCommandLine,
  type ReadContext,
  type RenderOptions,
  render,
  stripControls,
  TOPICS,
  withReadContext,
  withUsableFiles,
} from '@nanoclaw/host/operator';
import { chooseDriver, modelEnvironment, timeZoneOf } from '@nanoclaw/host/runs';
import { inProcessReader, type SessionFolder } from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import { machineZone } from '@nanoclaw/session-db/text';
import { converse } from './cli/chat.ts';
import { printCompletion, printContinuations } from './cli/completion.ts';
import { LOCAL_COMMANDS, type LocalActions, type LocalCommand } from './cli/local.ts';
import { hostLog, runLog, showLog } from './cli/logs.ts';
import { configHelp, configValues, dataFolderOf, readConfig } from './config.ts';
import { start } from './daemon.ts';
import { diagnose, report } from './doctor.ts';
import { examineData, openFilesCheck } from './doctor-data.ts';
import { guardCheck } from './doctor-guard.ts';
import {
  conversation,
  ports,
  RUNNER_FOLDER,
  SKILLS_FOLDER,
  sleep,
  stopSignal,
  temporaryFolder,
  watchOutput,
} from './process.ts';
import { installService, supervisorOf } from './service.ts';
import { version } from './version.ts';

async function main(words: readonly string[]): Promise<number> {
  // What a shell asks while somebody types is no command of theirs.
  if (words[0] === 'complete' && words[1] === '--') {
    printContinuations(words.slice(2), COMMANDS, TOPICS);
    return 0;
  }
  const request = parseCommandLine(words, COMMANDS, TOPICS, configNotes());
  switch (request.type) {
    case 'help':
      (request.isAsked ? process.stdout : process.stderr).write(request.text);
      return request.isAsked ? 0 : 2;
    case 'version':
      process.stdout.write(`${version()}\n`);
      return 0;
    case 'run': {
      const root = dataFolderOf(request.data, process.env);
      if (request.command.kind === 'local') return request.command.prepare(request.raw)(machine(root, request.isJson));
      const value = await execute(request.command, request.raw, answerOptions(root));
      process.stdout.write(`${request.isJson ? json(value) : render(value, request.command.view, page())}\n`);
      return 0;
    }
  }
}

function configNotes(): string {
  return `Configuration (see \`nanoclaw config\`):\n${configHelp()}\n\n`;
}

/** What is started to have the whole program: the file that `entry.ts` is built into, beside this one. */
const PROGRAM = fileURLToPath(new URL('main.js', import.meta.url));

const COMMANDS: readonly (OperatorCommand | LocalCommand)[] = [...LOCAL_COMMANDS, ...OPERATOR_COMMANDS];

/** What the commands that are done here are made of. */
function machine(root: string, isJson: boolean): LocalActions {
  const data = dataFolder(root);
  return {
    start: ({ say }) => start(say, root),
    chat: async ({ chat, history }) => {
      using stop = stopSignal();
      const socket = terminalSocketPath(data.terminal);
      await converse({ ...conversation(data, socket, ports.newId), chat, history, signal: stop.signal });
      return 0;
    },
    doctor: () => doctor(root, isJson),
    logs: async ({ session, lines, follow }) => {
      using stop = stopSignal();
      const file = session === undefined ? hostLog(data) : runLog(data, session);
      await showLog(file, { lines, follow, isRaw: isJson, write: print, sleep, signal: stop.signal });
      return 0;
    },
    backup: async (into) => {
      const options = answerOptions(root);
      const sessions = () => withReadContext(options, savedSessions);
      const { sleep: wait, onProgress } = options;
      const saved = await backup({
        data,
        into: absolute(into),
        sessions,
        now: ports.clock.now,
        sleep: wait,
        onProgress,
      });
      process.stdout.write(`${isJson ? json(saved) : `${saved.sessions} sessions were saved in ${absolute(into)}.`}\n`);
      if (!isJson) sayLeftOut(saved.leftOut);
      return 0;
    },
    restore: async (from, session) => {
      const done = await restored(absolute(from), data, session);
      process.stdout.write(`${isJson ? json(done) : done.message}\n`);
      if (!isJson) sayLeftOut(done.leftOut);
      return 0;
    },
    installService: async () => {
      const { file, next } = await service(root);
      const text = `${file} was written. Next:\n${next.map((line) => `  ${line}`).join('\n')}`;
      process.stdout.write(`${isJson ? json({ file, next }) : text}\n`);
      return 0;
    },
    completion: async (shell) => {
      printCompletion(shell, [process.execPath, PROGRAM]);
      return 0;
    },
  };
}

function answerOptions(root: string): ExecuteOptions {
  const config = configValues(root, process.env);
  return {
    data: dataFolder(root),
    config,
    timeZone: timeZoneOf(readConfig(root, process.env)),
    version: version(),
    now: ports.clock.now,
    newId: ports.newId,
    newSecret: ports.newSecret,
    onProgress: (line) => void process.stderr.write(`${stripControls(line)}\n`),
    scratch: ports.scratch,
    // Here, unlike in a daemon, a file that holds its reader holds one command, which a person can end.
    readerFor: (folder) => inProcessReader(folder, openSqlite),
    pid: ports.pid,
    sleep: (ms) => sleep(ms, new AbortController().signal),
  };
}

function print(text: string): void {
  process.stdout.write(text);
}

function page(): RenderOptions {
  return { width: process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY, timeZone: machineZone() };
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

async function savedSessions(operator: ReadContext): Promise<readonly SavedSession[]> {
  const saved: SavedSession[] = [];
  for (const session of await operator.registry.sessions()) {
    const run = await withUsableFiles(operator, session, ({ files }) => files.liveRun());
    saved.push({ id: session.id, agentGroupId: session.key.agentGroupId, runEnded: run === undefined });
  }
  return saved;
}

/** Names may be an agent's words. */
function sayLeftOut(sentences: readonly string[]): void {
  for (const sentence of sentences) process.stderr.write(`${stripControls(sentence)}\n`);
}

async function restored(from: string, data: DataFolder, session: string | undefined) {
  if (session === undefined) {
    const { sessions, leftOut } = await restore(from, data.root, Date.now());
    return { sessions, leftOut, message: `${data.root} was made from the backup, with ${sessions} sessions.` };
  }
  using _lease = takeLease(data.root, { pid: ports.pid, since: new Date() });
  const aside = restoreSessionFrom(from, data, session, Date.now()) ?? null;
  const before = aside === null ? '' : ` What was there before is in ${aside}.`;
  return { session, aside, leftOut: [], message: `The session ${session} is as it was in the backup.${before}` };
}

async function service(root: string) {
  const supervisor = supervisorOf(process.platform);
  if (supervisor === undefined) {
    throw new Problem(`${process.platform} has no supervisor that this program knows; nothing was installed.`, 1);
  }
  const { drainMs, stopGraceMs } = readConfig(root, process.env);
  const [node, program] = [process.execPath, PROGRAM];
  const stopMaxMs = drainMs + stopGraceMs;
  return installService(
    supervisor,
    { node, program, data: root, stopMaxMs, path: process.env['PATH'] ?? '' },
    homedir(),
  );
}

async function doctor(root: string, isJson: boolean): Promise<number> {
  const config = readConfig(root, process.env);
  const options = answerOptions(root);
  const { drivers } = readModuleReferences(root);
  // A file that holds its reader must not hold the doctor.
  const { scratch, data: places } = options;
  using copies = temporaryFolder(scratch);
  using guard = new Guard({
    sessions: existsSync(places.sessions) ? places.sessions : copies.path,
    scratch: join(copies.path, 'guard'),
    setTimer: ports.clock.setTimer,
    monotonic: ports.monotonic,
    onTrouble: () => undefined,
  });
  const readerFor = (folder: SessionFolder) => guard.reader(folder);
  const data = await examineData({ data: options.data, scratch, now: options.now, readerFor });
  const needed = await diagnose({
    dataFolder: root,
    config,
    machine: ports.machine,
    agents: data.agents,
    modelEnv: modelEnvironment(process.env),
    runnerFolder: RUNNER_FOLDER,
    skillsFolder: SKILLS_FOLDER,
    drivers: Object.keys(drivers),
    driver: async (_isolation, installId, stateFolder) => {
      const { clock } = ports;
      const load = { dataFolder: root, agentFolders: options.data.ofAgents, clock };
      const driverPorts = { installId, stateFolder, clock };
      const { machine: around, process: own } = ports;
      const common = { settings: config, driver: undefined, drivers, load, process: own, ports: driverPorts };
      return (await chooseDriver({ ...common, machine: around })).driver;
    },
    newId: options.newId,
    sleep: options.sleep,
  });
  const checks = [openFilesCheck(ports.openFiles()), ...data.checks, ...needed, await guardCheck(guard)];
  process.stdout.write(`${isJson ? json(checks) : report(checks)}\n`);
  return checks.some(({ verdict }) => verdict === 'trouble') ? 1 : 0;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof Problem) {
    // It may quote what an agent or a stranger has written.
    process.stderr.write(`nanoclaw: ${stripControls(error.message)}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `nanoclaw: an unexpected error: ${stripControls(messageOf(error))} Nothing accepted was lost; start it again.\n`,
  );
  if (error instanceof Error && process.env['NANOCLAW_LOG'] === 'debug') process.stderr.write(`${error.stack}\n`);
  return 1;
}

watchOutput();
// Last, because the constants above have to be there.
process.exitCode = await main(process.argv.slice(2)).catch(exitCodeOf);
