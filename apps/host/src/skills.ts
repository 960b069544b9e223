/** The skills of an agent, as a folder that the host makes and the agent may only read. */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes `into` hold the skills of `from`, and nothing else, and returns `into`; `undefined` if there are none. A run that
 * has the folder already sees the change. Throws the file system's error.
 */
export function generateSkills(from: string, into: string): string | undefined {
  const names = skillsIn(from);
  mkdirSync(into, { recursive: true });
  for (const name of skillsIn(into)) if (!names.includes(name)) rmSync(join(into, name), { recursive: true });
  for (const name of names) cpSync(join(from, name), join(into, name), { recursive: true });
  return names.length === 0 ? undefined : into;
}

function skillsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
