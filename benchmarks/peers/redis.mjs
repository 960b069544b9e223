/** A Redis of Debian on a socket of its own, with an append-only file that is synced at every write. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export async function redis(folder) {
  const socket = `${folder}/redis.sock`;
  const args = [
    '--port',
    '0',
    '--unixsocket',
    socket,
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
  ];
  const server = spawn('redis-server', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const failed = once(server, 'exit').then(() => {
    throw new Error('redis-server ended at its start.');
  });
  failed.catch(() => {});
  while (!existsSync(socket)) await Promise.race([failed, sleep(20)]);
  return {
    socket,
    pid: server.pid,
    end: async () => {
      server.kill('SIGTERM');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    },
  };
}
