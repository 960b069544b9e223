import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';

const EXAMPLE = join(import.meta.dirname, '..', '..', '..', 'examples', 'ten-line-provider.ts');

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-example-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

// The example is a program for Node, whatever runs this test.
it('the example answers with its ten-line provider, without a host of ours, and again on the same folder', async () => {
  for (const [question, answer] of [
    ['What is this?', 'WHAT IS THIS?\n'],
    ['and again', 'AND AGAIN\n'],
  ] as const) {
    const { stdout } = await promisify(execFile)('node', ['--conditions=source', EXAMPLE, folder, question]);
    expect(stdout).toBe(answer);
  }
}, 30_000);
