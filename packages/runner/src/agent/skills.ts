/**
 * The skills of this run: folders in one folder, which the host shows read-only. Checked before anything is started,
 * because the agent program leaves out what it cannot read without a word.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { nameProblem } from '@nanoclaw/session-db/text';
import type { Skill } from '../provider.ts';
import { ConfigError } from './config.ts';

/**
 * The skills in `folder` that are wanted, by name; none without a folder. Throws `ConfigError` when one is not there, or
 * is none.
 */
export function findSkills(folder: string | undefined, wanted: 'all' | readonly string[]): Skill[] {
  if (folder === undefined) {
    if (wanted === 'all' || wanted.length === 0) return [];
    throw new ConfigError(`The skills ${wanted.join(', ')} are wanted, and no folder of skills was given (--skills).`);
  }
  const names = wanted === 'all' ? foldersIn(folder) : wanted;
  return names.map((name) => {
    const problem = nameProblem('skill', name);
    if (problem !== undefined) throw wrong(folder, problem);
    checkSkill(folder, name);
    return { name, folder: resolve(folder, name) };
  });
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .toSorted();
  } catch (error) {
    throw wrong(folder, `it cannot be listed (${messageOf(error)}).`);
  }
}

function checkSkill(folder: string, name: string): void {
  let text: string;
  try {
    text = readFileSync(join(folder, name, 'SKILL.md'), 'utf8');
  } catch (error) {
    throw wrong(folder, `the skill ${name} has no SKILL.md that can be read (${messageOf(error)}).`);
  }
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1] ?? '';
  const named = /^name:\s*["']?([^"'\r\n]*?)["']?\s*$/m.exec(head)?.[1];
  if (named !== name || !/^description:\s*\S/m.test(head)) {
    throw wrong(folder, `the SKILL.md of ${name} must begin with a head that says "name: ${name}" and a description.`);
  }
}

function wrong(folder: string, what: string): ConfigError {
  return new ConfigError(
    `In the skills folder ${folder}: ${what} Nothing was started; put the skill right or leave it out.`,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
