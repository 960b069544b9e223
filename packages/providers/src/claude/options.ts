/**
 * What the agent program is started with: its model, tools, servers and skills, its instructions, and its environment.
 */
import type { HookCallback, McpServerConfig, Options } from '@anthropic-ai/claude-agent-sdk';
import type { McpServer, StartOptions } from '@nanoclaw/runner';
import { BASH_TIMEOUT_DEFAULT_MS, BASH_TIMEOUT_MAX_MS } from './events.ts';
import { TOOL_SERVER, toolServer } from './tools.ts';

/** What is the same for every turn of a provider. */
export interface ClaudeProgramOptions {
  /** The SDK's native program. */
  readonly executable: string;
  /**
   * The program's whole environment: nothing is inherited. It needs `HOME` (conversations are kept in
   * `$HOME/.claude`, or in `CLAUDE_CONFIG_DIR`), `PATH`, and what the model's API asks for.
   */
  readonly env: Readonly<Record<string, string>>;
  /** The uid that the program runs as: as root it works without asking only when told that it is in a sandbox. */
  readonly uid: number;
}

/** The SDK's options for one turn; `notes` is what the agent keeps for itself, `beforeCompaction` a hook. */
export function sdkOptions(
  program: ClaudeProgramOptions,
  start: StartOptions,
  notes: string,
  beforeCompaction: HookCallback,
): Options {
  const servers = Object.entries(start.mcpServers).map(([name, server]) => [name, serverConfig(server)] as const);
  return {
    pathToClaudeCodeExecutable: program.executable,
    env: environment(program),
    cwd: start.cwd,
    ...(start.model === undefined ? {} : { model: start.model }),
    ...(start.effort === undefined ? {} : { effort: start.effort }),
    ...(start.continuation === undefined ? {} : { resume: start.continuation }),
    // Instructions change from turn to turn (places to write to, the time zone): a recorded prompt would keep the first.
    systemPrompt: {
      type: 'preset',
      preset: 'claude_code',
      append: `${start.instructions}\n\n${notes}`,
      snapshot: false,
    },
    tools: [...BUILT_IN_TOOLS],
    mcpServers: { ...Object.fromEntries(servers), [TOOL_SERVER]: toolServer(start.tools) },
    // The agent's folder is writable by the agent: nothing in it may add settings, hooks or servers to a run.
    settingSources: [],
    strictMcpConfig: true,
    // Over its standard input: on a command line everybody on the machine could read their keys.
    mcpServersDelivery: 'initialize',
    // Without setting sources the program looks for no skills; a plugin may be a folder with nothing but a skill in it.
    plugins: start.skills.map(({ folder }) => ({ type: 'local', path: folder, skipMcpDiscovery: true })),
    // By name, and so without the program's own: those are for people who write software at a terminal.
    skills: start.skills.map(({ name }) => `${name}:${name}`),
    hooks: { PreCompact: [{ hooks: [beforeCompaction], timeout: ARCHIVE_MAX_S }] },
    // The container is the boundary, and nobody is there to be asked.
    permissionMode: 'bypassPermissions',
    allowDangerouslySkipPermissions: true,
    // Without parts of messages a long answer would look like a minute of silence.
    includePartialMessages: true,
  };
}

const ARCHIVE_MAX_S = 30;

/**
 * What the model may use besides our tools: files, the shell, the web. Left out is what asks a person at the terminal,
 * outlives the turn, or schedules and sends behind the host's back; ours do that.
 */
const BUILT_IN_TOOLS: readonly string[] = [
  'Agent',
  'Bash',
  'Edit',
  'Glob',
  'Grep',
  'NotebookEdit',
  'Read',
  'Skill',
  'TodoWrite',
  'WebFetch',
  'WebSearch',
  'Write',
];

/** The program waits for every server before it asks the model, so that the first prompt has all their tools. */
function serverConfig(server: McpServer): McpServerConfig {
  switch (server.type) {
    case 'stdio': {
      const { command, args, env } = server;
      return { type: 'stdio', command, args: [...args], env: { ...env } };
    }
    case 'http':
      return { type: 'http', url: server.url, headers: { ...server.headers } };
  }
}

function environment({ env, uid }: ClaudeProgramOptions): Record<string, string> {
  return {
    ...env,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    // What runs on in the background would die with the turn, unfinished and unmentioned.
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
    // Two retries within seconds; the program's own ten last for minutes, and the host's backoff is there for that.
    CLAUDE_CODE_MAX_RETRIES: '2',
    // A broken stream is not asked for again as one piece: minutes without a sign of progress.
    CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK: '1',
    // How long a server of more tools may take to start: each turn waits for it. The program's own limit is 30 s.
    MCP_TIMEOUT: '10000',
    // Set, so that the time reported for a shell command is the time it gets.
    BASH_DEFAULT_TIMEOUT_MS: String(BASH_TIMEOUT_DEFAULT_MS),
    BASH_MAX_TIMEOUT_MS: String(BASH_TIMEOUT_MAX_MS),
    ...(uid === 0 ? { IS_SANDBOX: '1' } : {}),
  };
}
