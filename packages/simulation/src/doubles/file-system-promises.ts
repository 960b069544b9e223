/** Node's promises of files, kept at once: what waits for a real disk would go on at another time in every run. */
import * as fs from 'node:fs';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from './file-system.js';

export * from 'node:fs/promises';

export const copyFile = promised(copyFileSync);
export const mkdir = promised(mkdirSync);
export const rm = promised(rmSync);
export const writeFile = promised(writeFileSync);
export const lstat = promised(fs.lstatSync);
export const readdir = promised(fs.readdirSync);
export const readFile = promised(fs.readFileSync);
export const realpath = promised(fs.realpathSync);
export const stat = promised(fs.statSync);

function promised(call: (...args: never[]) => unknown): (...args: never[]) => Promise<unknown> {
  return async (...args) => call(...args);
}
