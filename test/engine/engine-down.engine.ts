/** A host whose engine is not there when it starts: nothing is lost, and nobody has to start it again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../host-process.ts';
import { ENGINE, EngineInstall } from './engine-install.ts';

describe.skipIf(ENGINE === '')('an engine that is down when the host starts', () => {
  let install: EngineInstall;
  let folder: string;
  let env: Record<string, string>;
  beforeEach(async () => {
    install = new EngineInstall();
    folder = mkdtempSync(join(tmpdir(), 'down-'));
    const { stdout: client } = await execa('sh', ['-c', `command -v ${ENGINE}`]);
    const script = `#!/bin/sh\n[ -e ${folder}/down ] && { echo "Cannot connect to it" >&2; exit 1; }\nexec ${client} "$@"\n`;
    writeFileSync(join(folder, ENGINE), script, { mode: 0o755 });
    env = { PATH: `${folder}:${process.env['PATH']}` };
  });
  afterEach(async () => {
    await install.close();
    rmSync(folder, { recursive: true });
  });

  it('keeps what is said meanwhile, and its agent answers once the engine is back', async () => {
    writeFileSync(join(folder, 'down'), '');
    const host = await install.daemon(env);
    const { client, messages } = await install.host.join();
    await client.send('hello out there');
    await until(() => install.host.count('inbound', "trouble WHERE kind = 'wake' AND failures > 0") === 1);
    const [trouble] = install.host.rows<{ error: string }>('inbound', 'SELECT error FROM trouble');
    expect(trouble?.error).toContain('Cannot connect to it');
    rmSync(join(folder, 'down'));
    await until(() => messages.some(({ text }) => text.includes('hello out there')));
    expect(await install.containers()).toHaveLength(1);
    host.kill('SIGTERM');
    expect((await host.ended).stderr).toContain('which cannot be used (Cannot connect to it). Messages are kept');
  });
});
