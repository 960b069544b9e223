import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Problem } from '@nanoclaw/host/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nanoclaw-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function store(text: string) {
  writeFileSync(join(folder, 'config.json'), text);
}

describe('the configuration', () => {
  it('is complete without a file, without a folder and without an environment', () => {
    expect(readConfig(folder, {})).toMatchObject({ provider: 'auto', bunPath: 'bun', runsMax: 8 });
    expect(readConfig(join(folder, 'missing'), {})).toEqual(readConfig(folder, {}));
  });

  it('takes the environment before the file, and the file before the default', () => {
    store('{"runsMax": 3, "provider": "offline"}');
    expect(readConfig(folder, { NANOCLAW_RUNS_MAX: '5' })).toMatchObject({ runsMax: 5, provider: 'offline' });
    expect(readConfig(folder, { NANOCLAW_RUNS_MAX: '' })).toMatchObject({ runsMax: 3 });
  });

  it('says which key is wrong, where it stands, and that nothing was done', () => {
    store('{"runsMax": 0}');
    expect(() => readConfig(folder, {})).toThrow(
      /^"runsMax" in .*config\.json is 0: .*Nothing was done; correct it\.$/,
    );
    expect(() => readConfig(folder, { NANOCLAW_RUNS_MAX: 'x' })).toThrow(/^NANOCLAW_RUNS_MAX is "x": /);
  });

  it('refuses a key that does not exist and a file that is not an object', () => {
    store('{"colour": "blue"}');
    expect(() => readConfig(folder, {})).toThrow(/has the key "colour", which does not exist/);
    for (const text of ['[]', '{', 'null', '3']) {
      store(text);
      expect(() => readConfig(folder, {})).toThrow(Problem);
    }
  });

  it('takes a time zone by any name that the platform has for it, and nothing else (failure 83)', () => {
    for (const name of ['US/Eastern', 'Etc/GMT+5', 'EST5EDT', 'Asia/Calcutta', 'UTC']) {
      expect(readConfig(folder, { NANOCLAW_TIME_ZONE: name })).toMatchObject({ timeZone: name });
    }
    for (const name of ['Mars', 'undefined', 'Etc/Unknown', '+02:00', ':/etc/localtime']) {
      expect(() => readConfig(folder, { NANOCLAW_TIME_ZONE: name })).toThrow(/no such IANA time zone/);
    }
  });

  it.each(['provider', 'driver'])('names for a %s that there is not those of the configuration too', (key) => {
    const own = { [`${key}s`]: { mine: { module: './mine.js' } } };
    for (const wrong of ['your', 'Mine_', 3]) {
      store(JSON.stringify({ [key]: wrong, ...own }));
      expect(() => readConfig(folder, {})).toThrow(
        new RegExp(`^"${key}" in .*auto, .*, mine; modules of your own are named under "${key}s" in config\\.json`),
      );
    }
    store(JSON.stringify({ [key]: 'mine', ...own }));
    expect(readConfig(folder, {})).toMatchObject({ [key]: 'mine' });
  });
});
