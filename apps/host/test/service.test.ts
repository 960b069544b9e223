import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { installService, type Service, serviceText, supervisorOf } from '../src/service.ts';

const SERVICE: Service = {
  node: '/opt/node/bin/node',
  program: '/opt/my nanoclaw/dist/main.js',
  data: '/srv/100% $HOME "data"',
  stopMaxMs: 5_000,
  path: '/opt/node/bin:/usr/bin',
};

test('the unit starts the daemon with each word as it is, whatever is in it', () => {
  const unit = serviceText('systemd', SERVICE);
  expect(unit).toContain(
    'ExecStart="/opt/node/bin/node" "/opt/my nanoclaw/dist/main.js" "start" "--data" "/srv/100%% $$HOME \\"data\\""',
  );
});

test('a stop ends the host and not its agents, and has the time that a drain may take', () => {
  expect(serviceText('systemd', SERVICE)).toMatch(/^KillMode=process$/m);
  expect(serviceText('systemd', SERVICE)).toMatch(/^TimeoutStopSec=15$/m);
  expect(serviceText('launchd', SERVICE)).toContain('<key>AbandonProcessGroup</key>\n  <true/>');
});

test('what a restart cannot mend is not restarted, and anything else always', () => {
  const unit = serviceText('systemd', SERVICE);
  expect(unit).toMatch(/^RestartPreventExitStatus=2 3 4$/m);
  expect(unit).toMatch(/^Restart=always$/m);
  expect(unit).toMatch(/^StartLimitIntervalSec=0$/m);
});

test('the file is written where the supervisor looks, again and again, and the next commands are told', () => {
  const home = mkdtempSync(join(tmpdir(), 'nano-service-'));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  for (const supervisor of ['systemd', 'launchd'] as const) {
    const first = installService(supervisor, { ...SERVICE, data: '/elsewhere' }, home);
    const { file, next } = installService(supervisor, SERVICE, home);
    expect(file).toBe(first.file);
    expect(readFileSync(file, 'utf8')).toBe(serviceText(supervisor, SERVICE));
    expect(next.length).toBeGreaterThan(0);
  }
});

test('a home that cannot be written is one sentence', () => {
  const home = mkdtempSync(join(tmpdir(), 'nano-service-'));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  writeFileSync(join(home, '.config'), 'a file where a folder should be');
  expect(() => installService('systemd', SERVICE, home)).toThrow(/could not be written .*nothing was installed/);
});

test('machines without a supervisor that we know have none', () => {
  expect(supervisorOf('linux')).toBe('systemd');
  expect(supervisorOf('darwin')).toBe('launchd');
  expect(supervisorOf('win32')).toBeUndefined();
});
