// The terminal's socket in the file system: opened so that only its owner can ever connect, and never in the place
// of something that lives.
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { join } from 'node:path';

/**
 * Listens where no other account can connect, and then moves the socket to its place. So it is never open to others, and a
 * stale socket is replaced in one step.
 */
export async function bind(server: Server, folder: string, path: string): Promise<void> {
  const made = join(folder, 's');
  rmSync(folder, { recursive: true, force: true }); // of a host that died in between
  mkdirSync(folder, { mode: 0o700 });
  const listening = once(server, 'listening');
  server.listen(made);
  await listening;
  chmodSync(made, 0o600);
  renameSync(made, path);
  rmdirSync(folder);
}

/** Throws if something lives at the place of the socket. What a dead host left there is free. */
export async function assertFree(path: string): Promise<void> {
  const place = lstatSync(path, { throwIfNoEntry: false });
  if (place === undefined) return;
  if (!place.isSocket()) {
    throw new Error(`There is a file that is no socket in the place of the terminal's socket: ${path}. Move it away.`);
  }
  const socket = connect(path);
  const answers = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false)); // no process listens: the host that made it is dead
  });
  socket.destroy();
  if (answers) {
    throw new Error(`Another process serves the terminal's socket ${path}. It keeps running; stop it first.`);
  }
}
