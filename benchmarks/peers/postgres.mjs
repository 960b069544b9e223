/** A PostgreSQL of Debian on a socket of its own, as it is by default: every commit is synced. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const VERSIONS = '/usr/lib/postgresql';

export async function postgres(folder) {
  const [version] = readdirSync(VERSIONS).toSorted((a, b) => Number(b) - Number(a));
  const bin = `${VERSIONS}/${version}/bin`;
  const [data, sockets] = [`${folder}/pg`, `${folder}/s`];
  for (const made of [data, sockets]) mkdirSync(made);
  // It refuses to run as root, so there it runs as the user that Debian has for it.
  const user = process.getuid() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (user.uid !== undefined) {
    for (const made of [data, sockets]) chownSync(made, user.uid, user.gid);
    chmodSync(folder, 0o755);
  }
  execFileSync(`${bin}/initdb`, ['-D', data, '-U', 'bench', '-A', 'trust', '-E', 'UTF8', '--no-locale'], {
    ...user,
    cwd: data,
    stdio: 'ignore',
  });
  const server = spawn(`${bin}/postgres`, ['-D', data, '-k', sockets, '-h', ''], {
    ...user,
    cwd: data,
    stdio: 'ignore',
  });
  const failed = once(server, 'exit').then(() => {
    throw new Error('postgres ended at its start.');
  });
  failed.catch(() => {});
  while (!existsSync(`${sockets}/.s.PGSQL.5432`)) await Promise.race([failed, sleep(20)]);
  await sleep(300);
  return {
    url: `postgres://bench@/postgres?host=${encodeURIComponent(sockets)}`,
    pid: server.pid,
    end: async () => {
      server.kill('SIGINT');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    },
  };
}

function idOf(flag) {
  return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
}
