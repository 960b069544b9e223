/** A host with its agents in containers, for tests on an engine. `npm run e2e` says which engine and which images. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { type HostProcess, Install, until } from '../host-process.ts';

export const ENGINE = process.env['NANOCLAW_TEST_ENGINE'] ?? '';

/** One test's data folder and hosts, and the containers that they start; `close` ends whatever is left. */
export class EngineInstall {
  readonly host = new Install();

  /** Starts a daemon on the engine and resolves when it takes connections. */
  daemon(env: Record<string, string> = {}): Promise<HostProcess> {
    return this.host.daemon({ ...hostEnvironment('slim'), ...env });
  }

  /** Ids of this install's containers that run. */
  async containers(): Promise<string[]> {
    const file = join(this.host.data, 'install-id');
    if (!existsSync(file)) return [];
    const label = `label=io.nanoclaw.install=${readFileSync(file, 'utf8').trim()}`;
    return lines(await engine('ps', '--quiet', '--no-trunc', '--filter', label));
  }

  /** The one container that runs; waits for it. */
  async container(): Promise<string> {
    let found: string[] = [];
    await until(async () => {
      found = await this.containers();
      return found.length === 1;
    });
    return found[0] ?? '';
  }

  /** Waits until the runner has claimed a message and is at it. */
  async busy(): Promise<void> {
    await until(() => this.host.count('outbound', "processing_ack WHERE status = 'processing'") === 1);
  }

  async close(): Promise<void> {
    const file = join(this.host.data, 'install-id');
    const id = existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
    await this.host.close();
    if (id === undefined) return;
    const left = lines(await engine('ps', '--all', '--quiet', '--filter', `label=io.nanoclaw.install=${id}`));
    if (left.length > 0) await engine('rm', '--force', ...left);
  }
}

/** What makes a host use the engine of the tests. */
export function hostEnvironment(variant: 'slim' | 'claude'): Record<string, string> {
  return { NANOCLAW_DRIVER: ENGINE, NANOCLAW_IMAGE: `nanoclaw-e2e:${variant}` };
}

/** Runs the engine's client and gives what it says. */
export async function engine(...args: readonly string[]): Promise<string> {
  const { stdout } = await execa(ENGINE, args);
  return stdout;
}

/** Runs a shell script in a container and gives what it says, whatever it ends with. */
export async function inside(container: string, script: string): Promise<string> {
  const { stdout } = await execa(ENGINE, ['exec', container, 'sh', '-c', script], { reject: false, all: true });
  return stdout;
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
