/**
 * Node's promises of files, kept at once: what waits for a real disk would go on at another time in every run. Every
 * name that the simulated sources import is here, and a name that is not fails when they are loaded.
 */
import * as fs from 'node:fs';
import {
  copyFileSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from './file-system.ts';

export const copyFile = promised(copyFileSync);
export const mkdir = promised(mkdirSync);
export const mkdtemp = promised(mkdtempSync);
export const rename = promised(renameSync);
export const rm = promised(rmSync);
export const writeFile = promised(writeFileSync);
export const access = promised(fs.accessSync);
export const lstat = promised(fs.lstatSync);
export const readdir = promised(fs.readdirSync);
export const readFile = promised(fs.readFileSync);
export const realpath = promised(fs.realpathSync);
export const stat = promised(fs.statSync);

/** A file or directory held open, with as much of Node's handle as is used here: it can be written, synced and closed. */
export const open = promised((path: string, flags = 'r', mode?: number) => {
  const descriptor = openSync(path, flags, mode);
  const close = promised(() => fs.closeSync(descriptor));
  const append = promised((bytes: Uint8Array) => void writeSync(descriptor, bytes));
  return { sync: promised(() => fsyncSync(descriptor)), writeFile: append, close, [Symbol.asyncDispose]: close };
});

function promised<A extends never[], T>(call: (...args: A) => T): (...args: A) => Promise<T> {
  return async (...args) => call(...args);
}
