import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findSkills } from '../src/agent/skills.ts';

it('the skills of this repository are none of them unsound', () => {
  const folder = join(import.meta.dirname, '..', '..', '..', 'container', 'skills');
  expect(findSkills(folder, 'all').map(({ name }) => name)).toEqual(readdirSync(folder).toSorted());
});
