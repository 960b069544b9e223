/**
 * Node's file system as a process of the simulation has it: each change is a touch of the world, at which the process
 * may die or meet trouble, and change times come from the world.
 */
import * as fs from 'node:fs';
import { acting, type Change } from '../world.ts';

export * from 'node:fs';

export const mkdirSync = touching('mkdir', fs.mkdirSync);
export const copyFileSync = touching('copy', fs.copyFileSync);
export const renameSync = touching('rename', fs.renameSync);
export const rmSync = touching('rm', fs.rmSync);
export const rmdirSync = touching('rmdir', fs.rmdirSync);
export const unlinkSync = touching('unlink', fs.unlinkSync);
export const writeFileSync = touching('write', fs.writeFileSync);
export const writeSync = touching('write', fs.writeSync);
export const fsyncSync = touching('sync', fs.fsyncSync);
export const utimesSync = touching('utimes', fs.utimesSync);

/** Opening for writing may make a file; its times are then the world's. */
export const openSync = replaced(fs.openSync, (open, args) => {
  const [path, flags = 'r'] = args;
  const actor = acting.getStore();
  if (actor === undefined || typeof path !== 'string') return open();
  const { world } = actor;
  const opened = (): unknown => {
    const descriptor = open();
    if (typeof descriptor === 'number') world.descriptors.set(descriptor, path);
    return descriptor;
  };
  const writes =
    typeof flags === 'number' ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0 : flags !== 'r';
  if (!writes) return opened();
  return world.touch({
    what: `open ${placeOf(path)}`,
    change: { type: 'entry', paths: [path] },
    perform: () => {
      const isNew = !fs.existsSync(path);
      const descriptor = opened();
      if (isNew) fs.utimesSync(path, world.wall(actor.kind) / 1000, world.wall(actor.kind) / 1000);
      world.changed(path);
      return descriptor;
    },
  });
});

/** The change time that a change token is made of: a count, because real ones differ from run to run. */
export const lstatSync = replaced(fs.lstatSync, (stat, args) => {
  const stats: unknown = stat();
  const [path] = args;
  const world = acting.getStore()?.world;
  if (world === undefined || typeof path !== 'string') return stats;
  if (typeof stats === 'object' && stats !== null && 'ctimeNs' in stats) {
    Reflect.set(stats, 'ctimeNs', BigInt(world.version(path)));
  }
  return stats;
});

export const watch = replaced(fs.watch, (real, args) => {
  const [path] = args;
  const listener = args.at(-1);
  const world = acting.getStore()?.world;
  if (world === undefined || typeof path !== 'string' || typeof listener !== 'function') return real();
  const stop = world.watch(path, () => listener('change', path));
  return { close: stop, on: () => undefined };
});

/** The same function as a touch of the world, when a process calls it. */
function touching<F extends (...args: never[]) => unknown>(what: string, real: F): F {
  return replaced(real, (perform, [first, second]) => {
    const world = acting.getStore()?.world;
    if (world === undefined) return perform();
    const path = typeof first === 'number' ? world.descriptors.get(first) : first;
    const changed = what === 'copy' ? [second] : what === 'rename' ? [path, second] : [path];
    const paths = changed.filter((one) => typeof one === 'string');
    const [from, to] = paths;
    const change: Change =
      what === 'sync' && from !== undefined
        ? { type: 'sync', path: from }
        : what === 'rename' && from !== undefined && to !== undefined
          ? { type: 'rename', from, to }
          : { type: 'entry', paths };
    return world.touch({
      what: `${what} ${placeOf(path)}`,
      change,
      perform: () => {
        const result = perform();
        for (const one of paths) world.changed(one);
        return result;
      },
    });
  });
}

function replaced<F extends (...args: never[]) => unknown>(
  real: F,
  call: (real: () => unknown, args: readonly unknown[]) => unknown,
): F {
  return new Proxy(real, {
    apply: (target, _, args: unknown[]) => call(() => Reflect.apply(target, undefined, args), args),
  });
}

/** The last two names of a path: enough for a reader, and the same in every folder. */
function placeOf(path: unknown): string {
  return typeof path === 'string' ? path.split('/').slice(-2).join('/') : 'an open file';
}
