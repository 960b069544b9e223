/** Things that lie where the host looks for the runner's files. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Attack, Place } from '../attack.ts';

/** What is put in place of a file, by what it is. */
const IMPOSTORS: Record<string, (path: string, place: Place) => void> = {
  'a pipe': (path) => execFileSync('mkfifo', [path]),
  'a folder': (path) => mkdirSync(path),
  'a link to the file of another session': (path, { victim }) => symlinkSync(victim, path),
  'a link to a file of the host': (path, { hostFile }) => symlinkSync(hostFile, path),
  'a link to nothing': (path) => symlinkSync('nowhere', path),
  'a link to itself': (path) => symlinkSync(basename(path), path),
  'a link to a device that never ends': (path) => symlinkSync('/dev/zero', path),
  'a second name of the file of another session': (path, { victim }) => linkSync(victim, path),
  'a device': (path) => execFileSync('mknod', [path, 'c', '1', '5']),
  'a socket': (path) =>
    void spawnSync(process.execPath, ['-e', SOCKET_MAKER, basename(path)], { cwd: dirname(path), stdio: 'ignore' }),
  'a file of four terabytes with nothing in it': (path) => {
    writeFileSync(path, '');
    truncateSync(path, 2 ** 42);
  },
  'a file that cannot be read': (path) => {
    writeFileSync(path, 'x');
    chmodSync(path, 0);
  },
};

/** Leaves a socket, because it is killed before it can remove it. By its short name: a socket's path is short. */
const SOCKET_MAKER = `
  require('node:net').createServer().listen(process.argv.at(-1), () => process.kill(process.pid, 'SIGKILL'))`;

/** Where it is put, by what the host has there. */
const TARGETS: Record<string, (place: Place) => string> = {
  'the database': ({ outbound }) => outbound.database,
  'the journal': ({ outbound }) => `${outbound.database}-journal`,
  'the bell': ({ outbound }) => outbound.bell,
  'the heartbeat': ({ outbound }) => outbound.heartbeat,
  'the folder of files': ({ outbound }) => outbound.files,
};

/** How the host is to name what lies in a place. */
const NAMES: Record<string, RegExp> = {
  'the database': /not-a-file|too-big|not a (plain|regular) file|quarantined|unreadable/,
  'the journal': /not-a-file|too-big|hot-journal|not a (plain|regular) file|quarantined|unreadable/,
  'the bell': /bell-/,
  'the heartbeat': /heartbeat-/,
  'the folder of files': /files-/,
};

/** Not amiss: a bell or a heartbeat is only looked at, so that one that cannot be read serves; and a folder is what belongs there. */
const SERVES = [
  'a file that cannot be read in place of the bell',
  'a file that cannot be read in place of the heartbeat',
  'a folder in place of the folder of files',
];

/** Every impostor in every place. */
export const FILES: readonly Attack[] = Object.entries(TARGETS).flatMap(([target, where]) =>
  Object.entries(IMPOSTORS).map(
    ([impostor, put]): Attack => ({
      name: `${impostor} in place of ${target}`,
      kind: `in place of ${target}`,
      act: (place) => {
        const path = where(place);
        try {
          renameSync(path, `${path}.away`);
        } catch {
          // There is nothing yet to be put away.
        }
        put(path, place);
      },
      ...(NAMES[target] && !SERVES.includes(`${impostor} in place of ${target}`) && { named: NAMES[target] }),
    }),
  ),
);
