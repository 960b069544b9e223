/**
 * The port to whatever runs a session's program: docker and podman, or a plain process.
 *
 * A driver belongs to one install and sees only that install's runs. What it promises, whatever the runtime:
 * a run is on record before its command begins, so a host that dies at any moment leaves no run behind that its
 * successor cannot list; dead means that the runtime said so; a start that fails leaves nothing alive.
 */

/** Starts, stops and finds the runs of one install. Every implementation must pass `@nanoclaw/containers/contract`. */
export interface Driver {
  /**
   * Starts a run and resolves when it is on its way.
   *
   * Rejects with a {@link SpawnError}; nothing of the run is alive then. A command that ends badly right at its start is
   * the problem `exit-at-once`; one that ends well is a run whose `exited()` resolves.
   */
  start(spec: RunSpec): Promise<Run>;

  /**
   * Asks the run to leave, waits `graceMs` milliseconds, then kills it and all that it started; resolves with its
   * confirmed exit. A run that is not alive resolves at once as `unknown`. Rejects when the runtime cannot be asked:
   * the run must then be taken for alive.
   */
  stop(runId: string, graceMs: number): Promise<Exit>;

  /**
   * The runs of this install that are alive, those of an earlier life of the host included. It is also the driver's
   * upkeep: it clears away what dead runs of an earlier life left behind, so call it now and then, not only at start.
   * Rejects when the runtime cannot be asked.
   */
  list(): Promise<Listing>;

  /**
   * The last part of a live run's output, bounded; `undefined` if no such run is alive. The two streams may be in another
   * order than they were written, and a line that has no end yet may be missing: so it is with docker.
   */
  logs(runId: string): Promise<string | undefined>;

  /** Stops watching. Runs go on for the next host to adopt; exits that are not known yet are never reported. */
  close(): void;
}

/** Everything a driver needs to know to start one run. Paths in `command` and `workdir` are as seen from inside. */
export interface RunSpec {
  /** Unique for ever. Letters, digits, `_`, `.`, `-`, the first a letter or digit; at most 128 characters. */
  readonly runId: string;
  /** The session that the run works for; characters as in `runId`. */
  readonly sessionId: string;
  /** Must be the driver's own: runs of different installs never meet. Characters as in `runId`. */
  readonly installId: string;
  /** Program and arguments; no shell comes between. */
  readonly command: readonly [string, ...string[]];
  /** Absolute path, as seen from inside, of the folder in which the command begins. */
  readonly workdir: string;
  /** What the run sees of the host's disk. Every source must exist, and no two may have the same target. */
  readonly mounts: readonly Mount[];
  /** The whole environment of the run, but for what the driver must add; nothing of the host's own is passed on. */
  readonly env: Readonly<Record<string, string>>;
  /** IANA name, for example `Europe/Lisbon`. */
  readonly timeZone: string;
  /** Kept with the run and given back by `list()`. */
  readonly labels: Readonly<Record<string, string>>;
  /** Host path, in a folder that exists, where the captured output goes. */
  readonly logFile: string;
  /** How the run is isolated. An engine needs it; a driver without isolation takes no notice of it. */
  readonly sandbox?: Sandbox;
}

/** The container of a run, over and above what every container here is: see `hardening` in `engine-arguments.ts`. */
export interface Sandbox {
  /** Id of the image, `sha256:` and 64 hexadecimal digits: a name may mean another image tomorrow. */
  readonly image: string;
  /** What the image must say it speaks, in its label `io.nanoclaw.protocol`. */
  readonly protocolVersion: number;
  /** What the run can reach. */
  readonly network: Network;
  /** Numbers of the user and group that the run is, and that must be able to write what is mounted to be written. */
  readonly user: {
    /** The user's number. */
    readonly uid: number;
    /** The number of the group. */
    readonly gid: number;
  };
  /** What the run may use at most. */
  readonly limits: Limits;
}

/** What a run can reach: nothing but itself, or what is in a network of the engine (`bridge`: the world). */
export type Network =
  | { readonly type: 'none' }
  | {
      readonly type: 'named';
      /** The network's name in the engine. */
      readonly name: string;
    };

/** What a run may use at most. */
export interface Limits {
  /** Processes and threads together, a count. */
  readonly pids: number;
  /** Memory, swap included, in bytes. */
  readonly memoryBytes: number;
  /** Share of the machine: 0.5 is half of one processor. */
  readonly cpus: number;
  /** Open files per process, a count. */
  readonly openFiles: number;
  /** Size of `/tmp`, which lies in memory, in bytes. */
  readonly tmpBytes: number;
}

/** A host path and the path under which the run sees it. */
export interface Mount {
  /** Absolute host path of a folder or file, without `..`. */
  readonly source: string;
  /** Absolute path below the root, as seen from inside, without `..`. */
  readonly target: string;
  /** Whether the run may only read there. A driver without isolation cannot enforce it. */
  readonly readonly: boolean;
}

/** One life of a session's program. */
export interface Run {
  /** As in its spec. */
  readonly runId: string;
  /** As in its spec. */
  readonly sessionId: string;
  /** Epoch milliseconds, by the clock of the host that started it. */
  readonly startedAt: number;
  /** As in its spec. */
  readonly labels: Readonly<Record<string, string>>;
  /** Fingerprint of the spec it was started with (see `specHash`): it shows an adopted run of an older spec. */
  readonly specHash: string;
  /** Host path of its captured output; stays after the run. */
  readonly logFile: string;
  /**
   * Resolves when the runtime has confirmed that the run, with all that it started, is gone. May be called any number
   * of times. Rejects when the runtime can no longer be asked: the run must then be taken for alive.
   */
  exited(): Promise<Exit>;
}

/** How a run ended. In each case it is certain that it did. */
export type Exit =
  | {
      readonly type: 'code';
      /** The exit code, 0 to 255. */
      readonly code: number;
    }
  | {
      readonly type: 'signal';
      /** The signal's name, such as `SIGKILL`. */
      readonly signal: string;
    }
  /** The kernel killed it because it used more memory than its limit. A runtime that cannot tell says code 137. */
  | { readonly type: 'out-of-memory' }
  /** Gone, but how was not seen: an adopted process, or a run that was not alive to begin with. */
  | {
      readonly type: 'unknown';
      /** Why its end is not known, as a clause. */
      readonly reason: string;
    };

/** What `list()` found. */
export interface Listing {
  /** The runs that are alive, in no particular order. */
  readonly runs: readonly Run[];
  /** One sentence per record that could not be understood; such a record is kept, and its run may be alive. */
  readonly troubles: readonly string[];
}

/** Why a run was not started. After each of them nothing of the run is alive. */
export type SpawnProblem =
  /** The spec contradicts itself or the driver. */
  | {
      readonly type: 'bad-spec';
      /** What is wrong with the spec, as a clause. */
      readonly reason: string;
    }
  | {
      readonly type: 'bad-mount';
      /** The mount that cannot be had. */
      readonly mount: Mount;
      /** What is wrong with it, as a clause. */
      readonly reason: string;
    }
  | {
      readonly type: 'bad-log';
      /** Host path of the log file, which cannot be written. */
      readonly logFile: string;
      /** The system's error code. */
      readonly reason: string;
    }
  /** The engine is not installed, or does not answer. */
  | {
      readonly type: 'no-engine';
      /** Which engine, by the name of its program. */
      readonly engine: string;
      /** What the engine or the system said. */
      readonly reason: string;
    }
  | {
      readonly type: 'no-image';
      /** The image, as the spec names it. */
      readonly image: string;
      /** What helps, as a clause; `undefined` for the usual thing: to build the image. */
      readonly remedy?: string;
    }
  /** The image speaks another version of the protocol, or does not say which, or lacks what the provider needs. */
  | {
      readonly type: 'wrong-image';
      /** The image, as the spec names it. */
      readonly image: string;
      /** The protocol version that this host speaks. */
      readonly wanted: number;
      /** The version that the image names; `undefined` when it names none. */
      readonly found: string | undefined;
      /** What helps, as a clause; `undefined` for the usual thing: to build the image anew. */
      readonly remedy?: string;
    }
  /** The program that runs the command is not there. */
  | {
      readonly type: 'no-runtime';
      /** The program, as the command names it. */
      readonly executable: string;
      /** The list of folders that was searched, as in `PATH`, or `the image`. */
      readonly lookedIn: string;
    }
  | {
      readonly type: 'duplicate-run';
      /** The id that was used before. */
      readonly runId: string;
    }
  /** The runtime refused: no more processes, no more files, no permission. */
  | {
      readonly type: 'refused';
      /** What the runtime said. */
      readonly reason: string;
    }
  /** It could not be put on record, so its command was never begun. */
  | {
      readonly type: 'not-recorded';
      /** Why the record could not be written. */
      readonly reason: string;
    }
  /** It began and ended at once; this is its confirmed exit, and no other will be reported. */
  | {
      readonly type: 'exit-at-once';
      /** How it ended. */
      readonly exit: Exit;
      /** The last part of what it printed. */
      readonly output: string;
      /** Host path of the file with all that it printed. */
      readonly logFile: string;
    }
  /** It ended, by itself and not well, before it had shown that the program in it works. */
  | {
      readonly type: 'exit-before-handshake';
      /** How it ended. */
      readonly exit: Exit;
      /** The last part of what it printed. */
      readonly output: string;
      /** Host path of the file with all that it printed. */
      readonly logFile: string;
    }
  /** What is alive could not be found out, and a second run of a session must never be started. */
  | {
      readonly type: 'not-reconciled';
      /** Why it could not be found out. */
      readonly reason: string;
    }
  /** It was stopped while it waited for its turn to start. */
  | {
      readonly type: 'stopped';
      /** What stopped it, as a clause. */
      readonly reason: string;
    };

/** A start that failed. `problem` says why, the message says it to a person. */
export class SpawnError extends Error {
  override readonly name = 'SpawnError';
  /** Why, for code to decide by. */
  readonly problem: SpawnProblem;

  /** `options.cause` is the error of the system or the engine, where there was one. */
  constructor(problem: SpawnProblem, options?: ErrorOptions) {
    super(problemSentence(problem), options);
    this.problem = problem;
  }
}

/** The exit as part of a sentence: `exit code 1`, `signal SIGKILL`. */
export function exitPhrase(exit: Exit): string {
  switch (exit.type) {
    case 'code':
      return exit.code === KILLED
        ? `exit code ${KILLED} (killed, often because it was out of memory)`
        : `exit code ${exit.code}`;
    case 'signal':
      return `signal ${exit.signal}`;
    case 'out-of-memory':
      return 'out of memory: it used more than its limit allows';
    case 'unknown':
      return exit.reason;
  }
}

/** 128 + SIGKILL, as shells, inits and engines put it. */
export const KILLED = 137;

function problemSentence(problem: SpawnProblem): string {
  switch (problem.type) {
    case 'bad-spec':
      return `The run cannot be started as specified: ${problem.reason}; nothing was started.`;
    case 'bad-mount':
      return `${problem.mount.source} cannot be mounted at ${problem.mount.target}: ${problem.reason}; nothing was started.`;
    case 'bad-log':
      return `The run's output cannot be written to ${problem.logFile} (${problem.reason}): make its folder writable; nothing was started.`;
    case 'no-engine':
      return `The container engine ${problem.engine} cannot be used (${problem.reason}): start it or install it; nothing was started.`;
    case 'no-image':
      return `The image ${problem.image} is not on this machine: ${problem.remedy ?? 'build it with scripts/image.mjs'}; nothing was started.`;
    case 'wrong-image':
      return `The image ${problem.image} speaks protocol version ${problem.found ?? '(it does not say which)'} and this host ${problem.wanted}: ${problem.remedy ?? 'build it anew with scripts/image.mjs'}; nothing was started.`;
    case 'no-runtime':
      return problem.executable === 'bun'
        ? `Bun was not found (looked in ${problem.lookedIn}): install it or set \`bunPath\`; nothing was started.`
        : `${problem.executable} was not found (looked in ${problem.lookedIn}): install it; nothing was started.`;
    case 'duplicate-run':
      return `There is already a run ${problem.runId}: give each start a new run id; nothing was started, and the other run goes on.`;
    case 'refused':
      return `The run was refused (${problem.reason}); nothing was started, try again later.`;
    case 'not-recorded':
      return `The run could not be put on record (${problem.reason}): make the state folder writable; nothing was started.`;
    case 'exit-at-once':
      return `The run ended at once (${exitPhrase(problem.exit)}); nothing of it is alive. ${outputSentence(problem)}`;
    case 'exit-before-handshake':
      return `The run ended before its program had opened the session (${exitPhrase(problem.exit)}); nothing of it is alive. ${outputSentence(problem)}`;
    case 'not-reconciled':
      return `What is alive cannot be found out (${problem.reason}): start the container engine; nothing was started, so that no session gets a second run.`;
    case 'stopped':
      return `The run was not started, because its session was stopped while it waited (${problem.reason}); wake the session again to start it.`;
  }
}

function outputSentence({ output, logFile }: { readonly output: string; readonly logFile: string }): string {
  return `Its output is kept in ${logFile}${output === '' ? ' and is empty.' : `, and ends with:\n${output}`}`;
}
