/** What of a host can be set, and what it is where nobody has set it. The libraries read no environment: a program hands these in. */
import type { Millis } from '@nanoclaw/session-db';

/** The settings of a host. */
export interface HostSettings {
  /**
   * Who answers where an agent names no provider: `offline`, `claude`, one of the configured ones, or `auto`: claude where the
   * model's environment has a key or an address, else offline.
   */
  readonly provider: string;
  /**
   * What runs the agents: `docker`, `podman`, `process`, one of the configured ones, or `auto`: docker, else podman, else plain
   * processes.
   */
  readonly driver: string;
  /** The agents' image; empty: the one of this version for the provider. */
  readonly image: string;
  /** What agents in containers can reach: `none`, a network of the engine, or `auto`: none unless their model needs one. */
  readonly network: string;
  /** The list of folders that agents may be shown: an absolute path. Nothing is allowed where the file is missing. */
  readonly mountAllowlist: string;
  /** Memory of an agent in a container, in megabytes. */
  readonly runMemoryMb: number;
  /** Processors of an agent in a container; 0.5 is half of one. */
  readonly runCpus: number;
  /** Processes and threads of an agent in a container. */
  readonly runPids: number;
  /** The Bun that runs agents without a container: a name or a path. */
  readonly bunPath: string;
  /** The executable of the Claude Agent SDK, for agents without a container. */
  readonly claudeBinary: string;
  /** IANA name of the agents' time zone; empty: the machine's. */
  readonly timeZone: string;
  /** How many agents may run at once. */
  readonly runsMax: number;
  /** How long an agent may go without ending anything while others wait for its place. */
  readonly placeMaxMs: Millis;
  /** How long an agent with nothing to do stays. */
  readonly idleExitMs: Millis;
  /** What an agent that is stopped gets to finish. */
  readonly stopGraceMs: Millis;
  /** How long a stopping host waits for what is under way. */
  readonly drainMs: Millis;
  /** After how many days what has ended is forgotten. */
  readonly keepDays: number;
  /** Where `/health`, `/ready` and `/metrics` are served, on this machine only; 0: nowhere. */
  readonly healthPort: number;
}

/** Eight agents at once, each with 2 GiB, a processor and 512 processes where it is in a container; a month is kept. */
export const DEFAULT_SETTINGS: HostSettings = {
  provider: 'auto',
  driver: 'auto',
  image: '',
  network: 'auto',
  mountAllowlist: '/etc/nanoclaw/mounts.json',
  runMemoryMb: 2_048,
  runCpus: 1,
  runPids: 512,
  bunPath: 'bun',
  claudeBinary: '',
  timeZone: '',
  runsMax: 8,
  placeMaxMs: 600_000,
  idleExitMs: 60_000,
  stopGraceMs: 5_000,
  drainMs: 5_000,
  keepDays: 30,
  healthPort: 0,
};
