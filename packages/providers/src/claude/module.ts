/** The claude provider as a module that a configuration can name. */
import type { ProviderModule } from '@nanoclaw/runner';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { claudeProvider } from './claude.ts';

/** What a configuration says of it. */
export interface ClaudeModuleOptions {
  /** The path of the agent SDK's native program. */
  readonly executable: string;
}

/** Needs `HOME`, `PATH` and the variables of the model's API in the run's environment. */
export const claudeModule: ProviderModule<ClaudeModuleOptions> = {
  options: { '~standard': { version: 1, vendor: 'nanoclaw', validate } },
  create: ({ executable }, { clock, env, newId, report, uid }) =>
    claudeProvider({ executable, env: programEnvironment(env), uid, report, newId, setTimer: clock.setTimer }),
};

function validate(value: unknown): StandardSchemaV1.Result<ClaudeModuleOptions> {
  const executable = typeof value === 'object' && value !== null && 'executable' in value ? value.executable : '';
  if (typeof executable === 'string' && executable !== '') return { value: { executable } };
  return { issues: [{ path: ['executable'], message: "must be the path of the agent SDK's native program" }] };
}

/** What the program needs of the run's environment: where it keeps its state, and how it reaches the API. */
function programEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  const names = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ', 'CLAUDE_CONFIG_DIR'];
  const needed = Object.entries(env).filter(([name]) => names.includes(name) || name.startsWith('ANTHROPIC_'));
  return Object.fromEntries(needed);
}
