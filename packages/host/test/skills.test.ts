import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateSkills } from '../src/runs/skills.ts';

let folder: string;
let from: string;
let into: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skills-'));
  from = join(folder, 'from');
  into = join(folder, 'into');
  for (const name of ['a', 'b', 'c']) write(name, 'SKILL.md', `the text of ${name}`);
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(skill: string, file: string, text: string): void {
  mkdirSync(join(from, skill), { recursive: true });
  writeFileSync(join(from, skill, file), text);
}

/** The folder that is shown for a choice. */
function shown(chosen: 'all' | readonly string[]): string {
  const { folder: made } = generateSkills(from, into, chosen);
  if (made === undefined) throw new Error('nothing is shown');
  return made;
}

describe('the skills of an agent', () => {
  it('are exactly those that were chosen, with all their files', () => {
    write('b', 'table.csv', '1,2');
    expect(readdirSync(shown(['b', 'c']))).toEqual(['b', 'c']);
    expect(readFileSync(join(shown(['b']), 'b', 'table.csv'), 'utf8')).toBe('1,2');
    expect(readdirSync(shown('all'))).toEqual(['a', 'b', 'c']);
  });

  it('lie in the same folder as long as choice and files are the same, so that nothing is replaced for nothing', () => {
    const first = shown(['a', 'b']);
    expect(shown(['b', 'a'])).toBe(first);
    expect(shown(['a', 'b'])).toBe(first);
  });

  it('lie in another folder when the choice or a file differs, and a run that has the old one keeps it', () => {
    const first = shown(['a']);
    expect(shown(['a', 'b'])).not.toBe(first);
    write('a', 'SKILL.md', 'the new text of a');
    const second = shown(['a']);
    expect(second).not.toBe(first);
    expect(readFileSync(join(first, 'a', 'SKILL.md'), 'utf8')).toBe('the text of a');
    expect(readFileSync(join(second, 'a', 'SKILL.md'), 'utf8')).toBe('the new text of a');
  });

  it('that are none of this version’s are told, and the others are there', () => {
    const { folder: made, missing } = generateSkills(from, into, ['a', '../from/b', 'nowhere']);
    expect(missing).toEqual(['../from/b', 'nowhere']);
    expect(readdirSync(made ?? '')).toEqual(['a']);
  });

  it('are no folder at all when there are none', () => {
    expect(generateSkills(from, into, [])).toEqual({ folder: undefined, missing: [] });
    expect(generateSkills(join(folder, 'nowhere'), into, 'all')).toEqual({ folder: undefined, missing: [] });
    expect(existsSync(into)).toBe(false);
  });

  it('do not pile up: of many choices the last few are kept', () => {
    for (let version = 0; version < 20; version += 1) {
      write('a', 'SKILL.md', `version ${version}`);
      expect(readFileSync(join(shown('all'), 'a', 'SKILL.md'), 'utf8')).toBe(`version ${version}`);
    }
    expect(readdirSync(into).length).toBeLessThan(10);
  });

  it('are made whole although an earlier host died in the middle', () => {
    const made = shown('all');
    rmSync(made, { recursive: true });
    mkdirSync(join(`${made}.new`, 'half'), { recursive: true });
    expect(readdirSync(shown('all'))).toEqual(['a', 'b', 'c']);
  });
});
