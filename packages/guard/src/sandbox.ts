/**
 * What the guard's processes are closed in by: the strongest that this system has, and how a process is started in it.
 *
 * bubblewrap gives all of it: no network, no sight of other processes, no new privileges, few system calls, and of the file
 * system nothing but the program with its libraries, the sessions for reading and a folder of the process's own. Without
 * it, util-linux takes away what it can. Which of them works is found out by starting a process; what it keeps out is found
 * out by trying (`trial.ts`).
 *
 * One process reads for all sessions: to start one takes a hundred times as long as a read, and sessions come and go beneath
 * the one folder. One that was taken over could read other sessions with no way out for what it read but its own answers,
 * which are checked; it could write nowhere, and go nowhere.
 */
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemCallFilter } from './seccomp.ts';

/** What closes a process in, the strongest first. */
export const SANDBOX_MEANS = ['bubblewrap', 'unshare', 'setpriv', 'none'] as const;

/** One of `SANDBOX_MEANS`: `unshare` and `setpriv` are programs of util-linux, `none` is the limits alone. */
export type SandboxMeans = (typeof SANDBOX_MEANS)[number];

/** Where a process of the guard works. */
export interface GuardPlaces {
  /** The program that reads; `undefined`: `guard-main`, beside this file. */
  readonly program: string | undefined;
  /** The folder beneath which all sessions are, absolute. */
  readonly sessions: string;
}

/** What a process is for: to read, with a folder that it may write to, or to remove what lies in the sessions. */
export type Purpose = { readonly type: 'read'; readonly scratch: string } | { readonly type: 'remove' };

/** How to start a process. */
export interface Launch {
  readonly command: readonly string[];
  /** Whom it runs as and who must own what it may write; `undefined`: whom the host runs as. */
  readonly user: number | undefined;
  /** What the command reads from descriptor 4: the filter of system calls. */
  readonly filter: Buffer | undefined;
}

/** How a process for this purpose is started by these means. */
export function launch(means: SandboxMeans, places: GuardPlaces, purpose: Purpose): Launch {
  const machine = thisMachine();
  const command = programCommand(machine, places, purpose);
  switch (means) {
    case 'bubblewrap':
      return inBubblewrap(command, machine, places, purpose);
    case 'unshare':
      return withoutPrivileges(command, machine, purpose, (inner) => [
        ...UNSHARED,
        ...(machine.isRoot ? [] : USER_NAMESPACE),
        '--',
        ...inner,
      ]);
    case 'setpriv':
      return withoutPrivileges(command, machine, purpose, (inner) => inner);
    case 'none':
      return { command, user: undefined, filter: undefined };
  }
}

/** What matters here of the machine and of this process. */
interface Machine {
  readonly node: string;
  readonly arch: string;
  readonly isRoot: boolean;
}

function thisMachine(): Machine {
  // tidy: allow environment — the reader runs on the Node, the processor and the rights of its host; nothing else is looked at
  const { execPath, arch, geteuid } = process;
  return { node: realpathSync(execPath), arch, isRoot: geteuid?.() === 0 };
}

const PROGRAM = fileURLToPath(new URL(`guard-main${extname(import.meta.url)}`, import.meta.url));

/** Of V8's heap. A read of the limits' size needs a tenth of it. */
const HEAP_MIB = 256;

function programCommand({ node }: Machine, { program = PROGRAM }: GuardPlaces, purpose: Purpose): string[] {
  // A program that is run from its source reads the sources of what it imports as well.
  const source = program.endsWith('.ts') ? ['--conditions=source'] : [];
  const scratch = purpose.type === 'read' ? [purpose.scratch] : [];
  return [node, `--max-old-space-size=${HEAP_MIB}`, ...source, program, ...scratch];
}

// ── bubblewrap ──────────────────────────────────────────────────────────────────────────────────────────────────────

function inBubblewrap(command: readonly string[], machine: Machine, places: GuardPlaces, purpose: Purpose): Launch {
  const filter = systemCallFilter(machine.arch);
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
  const isOwnUser = machine.isRoot && purpose.type === 'read' && setpriv !== undefined;
  const readable = [machine.node, ...codeFolders(places.program), ...(isOwnUser ? [setpriv] : [])];
  const { sessions } = places;
  const writable =
    purpose.type === 'read'
      ? ['--ro-bind', sessions, sessions, '--bind', purpose.scratch, purpose.scratch]
      : ['--bind', sessions, sessions];
  return {
    command: [
      ...'bwrap --unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try'.split(' '),
      ...'--die-with-parent --new-session --proc /proc --cap-drop ALL'.split(' '),
      ...capabilitiesKept(machine, purpose, isOwnUser, filter !== undefined).flatMap((name) => ['--cap-add', name]),
      ...libraries(),
      ...[...new Set(readable)].flatMap((path) => ['--ro-bind', path, path]),
      ...writable,
      ...'--remount-ro / --chdir /'.split(' '),
      ...(filter === undefined ? [] : ['--seccomp', '4']),
      '--',
      ...(isOwnUser ? [setpriv, ...OWN_USER] : []),
      ...command,
    ],
    user: isOwnUser ? OWN_USER_ID : undefined,
    filter,
  };
}

/**
 * Of root's capabilities, those without which it could not do its work: what agents wrote belongs to users of theirs. To read
 * whatever lies in a mount is also a way past the mount, which the filter closes; without a filter there is none of it.
 */
function capabilitiesKept({ isRoot }: Machine, { type }: Purpose, isOwnUser: boolean, isFiltered: boolean): string[] {
  if (!isRoot) return [];
  if (type === 'remove') return ['CAP_DAC_OVERRIDE', 'CAP_FOWNER'];
  return [
    ...(isOwnUser ? ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'] : []),
    ...(isOwnUser || isFiltered ? ['CAP_DAC_READ_SEARCH'] : []),
  ];
}

/** The folders of the libraries that this Node has loaded, and what leads to them. */
function libraries(): string[] {
  const mapped = readFileSync('/proc/self/maps', 'utf8').matchAll(/ r-xp .* (\/\S*\/)[^/\s]+\.so[.\d]*$/gm);
  const folders = new Set([...mapped].map(([, folder = '']) => folder.replace(/\/$/, '')));
  const links = ['/lib', '/lib64'].flatMap((path) => {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    return stats.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : [];
  });
  // The loader itself, and its list of where libraries are.
  const loader = ['/usr/lib64', '/lib64'].filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory());
  const bound = [...folders, ...loader, '/etc/ld.so.cache'].flatMap((path) => ['--ro-bind-try', path, path]);
  return [...links, ...bound];
}

/** Where the program's code is, its own and that of the packages it imports: nothing else of where they are installed. */
function codeFolders(program: string | undefined): string[] {
  const folders = new Set<string>();
  const visit = (start: string) => {
    const own = packageFolder(start);
    if (own === undefined || folders.has(own)) return;
    folders.add(own);
    for (const modules of modulesAbove(own)) folders.add(modules);
    for (const linked of linkedPackages(join(own, 'node_modules'))) visit(linked);
  };
  visit(PROGRAM);
  if (program !== undefined) visit(program);
  return [...folders, ...(program === undefined ? [] : [program])].toSorted((a, b) => a.length - b.length);
}

function packageFolder(path: string): string | undefined {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  return undefined;
}

function modulesAbove(start: string): string[] {
  const found: string[] = [];
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const modules = join(folder, 'node_modules');
    if (existsSync(modules)) found.push(modules);
  }
  return found;
}

/** The packages that a folder of modules links to: in a workspace they lie elsewhere. */
function linkedPackages(modules: string): string[] {
  if (!existsSync(modules)) return [];
  return readdirSync(modules, { withFileTypes: true }).flatMap((entry) => {
    const path = join(modules, entry.name);
    if (entry.name.startsWith('@') && entry.isDirectory()) return linkedPackages(path);
    return entry.isSymbolicLink() && existsSync(path) ? [realpathSync(path)] : [];
  });
}

// ── util-linux ──────────────────────────────────────────────────────────────────────────────────────────────────────

function withoutPrivileges(
  command: readonly string[],
  { isRoot }: Machine,
  { type }: Purpose,
  wrapped: (command: readonly string[]) => readonly string[],
): Launch {
  // What removes files needs its rights, and reads nothing that was made to mislead it.
  if (type === 'remove') return { command, user: undefined, filter: undefined };
  // Said once more inside: a change of user takes back what `unshare` has asked of the kernel for it.
  const inner = ['setpriv', ...(isRoot ? OWN_USER : []), ...END_WITH_PARENT, '--no-new-privs', ...command];
  return { command: wrapped(inner), user: isRoot ? OWN_USER_ID : undefined, filter: undefined };
}

/** Of no account: in the range that distributions keep back. */
const OWN_USER_ID = 65_487;

/** `setpriv` as root: another user, who can read what agents wrote, and nothing more of what root can do. */
const OWN_USER: readonly string[] = [
  `--reuid=${OWN_USER_ID}`,
  `--regid=${OWN_USER_ID}`,
  '--clear-groups',
  ...['--inh-caps', '--ambient-caps', '--bounding-set'].map((set) => `${set}=-all,+dac_read_search`),
];

/** `setpriv`: the kernel ends the process together with the one that started it. */
const END_WITH_PARENT: readonly string[] = ['--pdeathsig', 'KILL'];

/** The first process of its own namespace cannot end itself: it ends with `unshare`, and that with the host. */
const UNSHARED: readonly string[] = [
  'setpriv',
  ...END_WITH_PARENT,
  ...'unshare --fork --kill-child --net --ipc --uts --pid --mount --mount-proc'.split(' '),
];

/** Without root the other namespaces take one of users, in which it is who it was. */
const USER_NAMESPACE: readonly string[] = ['--user', '--map-current-user'];
