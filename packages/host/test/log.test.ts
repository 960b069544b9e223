import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openLog } from '../src/observability/log.ts';

it('a log has no mark that a reader does not see, and the same values', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nano-log-'));
  try {
    const { logger } = openLog('info', join(folder, 'log'), false);
    const name = 'a\u202eb\u2028c\u200bd\u{e0041}e 👩‍👩‍👧';
    logger.info({ name }, `said ${name}`);
    const written = readFileSync(join(folder, 'log'), 'utf8');
    expect(written.trimEnd()).not.toMatch(/[\p{Cc}\u202e\u2028\u200b\u{e0041}]/u);
    expect(JSON.parse(written)).toMatchObject({ name, msg: `said ${name}` });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
