/**
 * The command line of docker or podman, as far as it is needed here: argument arrays in, checked values out. Both speak
 * the same words for all of this; where they differ it says so.
 */

import { cut } from '@nanoclaw/session-db/text';
import { execa } from 'execa';

/** The container engines that are known here. */
export type EngineKind = 'docker' | 'podman';

/** How an engine is reached. */
export interface EngineOptions {
  /** Which engine the client is of: the two differ in some of their answers. */
  readonly kind: EngineKind;
  /** The client: a name that is looked up in `env.PATH`, or a path. Default: the kind. */
  readonly executable?: string;
  /** All of the client's environment: `PATH`, `HOME`, and whatever it is configured by (`DOCKER_HOST`, `CONTAINERS_CONF`). */
  readonly env: Readonly<Record<string, string>>;
  /** How long one command may take, in milliseconds. Default a minute: engines are slow on a busy machine. */
  readonly commandMaxMs?: number;
}

/** What a machine's engine is. */
export type EngineState =
  /** `isRootless`: a user number inside is another one outside. */
  | { readonly type: 'usable'; readonly version: string; readonly isRootless: boolean; readonly cpus: number }
  | { readonly type: 'unusable'; readonly reason: string };

/** An image, as the engine knows it. */
export interface Image {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly id: string;
  /** See `LABELS`. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A container, as the engine knows it. */
export interface Container {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** `created`: its command has not begun; `gone`: it has ended. */
  readonly state: 'created' | 'alive' | 'gone';
  /** Means something once it is gone. */
  readonly exitCode: number;
  /** The kernel killed something in it because it was out of memory. */
  readonly isOutOfMemory: boolean;
  /** See `LABELS`. */
  readonly labels: Readonly<Record<string, string>>;
}

/** What is to be built. */
export interface Build {
  /** The name that the image gets. */
  readonly tag: string;
  /** With a `Dockerfile`; all of it is sent to the engine. */
  readonly folder: string;
  /** Each line that the engine says. Must not throw. */
  readonly onProgress: (line: string) => void;
  /** Aborted: the build ends. */
  readonly signal: AbortSignal;
}

/** What a command of the client came to. */
export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The engine could not be asked: nothing is known, so what was alive must be taken for alive. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
}

/** One engine of a machine, asked by its command line: one process of the client for each question. */
export class EngineClient {
  /** Which engine it is. */
  readonly kind: EngineKind;
  readonly #executable: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #commandMaxMs: number;

  /** Asks nothing yet: whether the engine is there, `state()` says. */
  constructor({ kind, executable, env, commandMaxMs }: EngineOptions) {
    this.kind = kind;
    this.#executable = executable ?? kind;
    this.#env = env;
    this.#commandMaxMs = commandMaxMs ?? 60_000;
  }

  /** Whether the engine answers; a client without its daemon does not. Never rejects. */
  async state(): Promise<EngineState> {
    try {
      const info = jsonOf(await this.asked(['info', '--format', '{{json .}}']));
      return this.kind === 'docker' ? dockerState(info) : podmanState(info);
    } catch (error) {
      if (error instanceof EngineError) return { type: 'unusable', reason: error.message };
      throw error;
    }
  }

  /** The image of that name or id; `undefined` if it is not on this machine. Rejects with an {@link EngineError}. */
  async image(name: string): Promise<Image | undefined> {
    const answer = await this.ask(['image', 'inspect', name]);
    if (answer.exitCode !== 0 && isUnknownImage(answer.stderr)) return undefined;
    const found = list(jsonOf(this.#checked(answer)))[0];
    const id = textIn(found, 'Id');
    if (id === undefined) throw new EngineError(`the ${this.kind} client describes image ${name} without an id`);
    return {
      id: withAlgorithm(id),
      labels: textsIn(field(field(found, 'Config'), 'Labels')),
    };
  }

  /** Ids of the images with a label of this value. Rejects with an {@link EngineError}. */
  async images(label: string, value: string): Promise<string[]> {
    const { stdout } = await this.asked(['images', '--quiet', '--no-trunc', '--filter', `label=${label}=${value}`]);
    return [...new Set(stdout.split('\n').filter((line) => line !== ''))].map(withAlgorithm);
  }

  /** Removes an image, with its names, unless a container uses it. Rejects with an {@link EngineError}. */
  async removeImage(id: string): Promise<void> {
    const names = await this.ask(['image', 'inspect', '--format', '{{range .RepoTags}}{{.}} {{end}}', id]);
    const all = names.stdout.split(/\s/).filter((name) => name !== '');
    // By its names and not by force: force would take it away under a container.
    const answer = await this.ask(['rmi', ...(all.length === 0 ? [id] : all)]);
    if (
      answer.exitCode !== 0 &&
      !isUnknownImage(answer.stderr) &&
      !/in use|being used|has dependent/i.test(answer.stderr)
    ) {
      this.#checked(answer);
    }
  }

  /** Ids of the containers, dead ones too, with a label of this value. Rejects with an {@link EngineError}. */
  async withLabel(label: string, value: string): Promise<string[]> {
    const { stdout } = await this.asked([
      'ps',
      '--all',
      '--quiet',
      '--no-trunc',
      '--filter',
      `label=${label}=${value}`,
    ]);
    return stdout.split('\n').filter((line) => line !== '');
  }

  /** The containers of these ids or names; those that do not exist are left out. Rejects with an {@link EngineError}. */
  async containers(ids: readonly string[]): Promise<Container[]> {
    if (ids.length === 0) return [];
    const answer = await this.ask(['inspect', '--type', 'container', ...ids]);
    // One that is missing makes the answer a failure; the others are described all the same.
    if (answer.exitCode !== 0 && !/no such (container|object)/i.test(answer.stderr)) this.#checked(answer);
    return answer.stdout.trim() === '' ? [] : list(jsonOf(answer)).map(containerOf);
  }

  /** Sends a signal; nothing happens to a container that is not running. Rejects with an {@link EngineError}. */
  async kill(id: string, signal: 'TERM' | 'KILL'): Promise<void> {
    const answer = await this.ask(['kill', '--signal', signal, id]);
    if (answer.exitCode !== 0 && !/not running|only kill running|no such container|is in state/i.test(answer.stderr)) {
      this.#checked(answer);
    }
  }

  /** Kills a container if it lives, and forgets it; nothing to forget is fine. Rejects with an {@link EngineError}. */
  async remove(id: string): Promise<void> {
    const answer = await this.ask(['rm', '--force', '--volumes', id]);
    // "already in progress": the other removal does it.
    if (answer.exitCode !== 0 && !/no such container|already in progress/i.test(answer.stderr)) this.#checked(answer);
  }

  /**
   * What the engine has kept of what a container has written, both streams in the order in which they came; how much
   * that is, was settled when the container was made.
   */
  async output(id: string): Promise<string> {
    // The client writes to two streams, and only a common pipe keeps their order. Without `--tail`: with it, podman
    // may lose the beginning of a line that was written in parts (podman issue 19545).
    const merged = ['-c', 'exec "$@" 2>&1', 'nanoclaw', this.#executable, 'logs', id];
    const answer = await this.#run('/bin/sh', merged, {}, '/');
    if (answer.exitCode !== 0) throw new EngineError(`its output cannot be read: ${lastLine(answer.stdout)}`);
    return answer.stdout;
  }

  /**
   * Calls `onEnd` whenever a container with this label ends, until `signal` is aborted; resolves when the engine has
   * stopped telling. Only a hint: what is missed here must be found by looking.
   */
  async ends(label: string, value: string, onEnd: () => void, signal: AbortSignal): Promise<void> {
    const event = this.kind === 'docker' ? 'die' : 'died';
    const filters = ['--filter', `label=${label}=${value}`, '--filter', `event=${event}`];
    const events = execa(this.#executable, ['events', ...filters, '--format', '{{.ID}}'], {
      env: this.#env,
      extendEnv: false,
      stdin: 'ignore',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      cancelSignal: signal,
    });
    events.stdout.on('data', onEnd);
    await events;
  }

  /**
   * Builds an image from the Dockerfile in a folder. Rejects with an {@link EngineError}, whose message is the last thing
   * that the engine said.
   */
  async build({ tag, folder, onProgress, signal }: Build): Promise<void> {
    const building = execa(this.#executable, ['build', '--pull=false', `--tag=${tag}`, folder], {
      env: this.#env,
      extendEnv: false,
      stdin: 'ignore',
      reject: false,
      all: true,
      cancelSignal: signal,
      maxBuffer: 1024 * 1024,
    });
    for await (const line of building.iterable({ from: 'all' })) onProgress(line);
    const { exitCode, all } = await building;
    if (exitCode === 0) return;
    throw new EngineError(signal.aborted ? 'the build was broken off' : lastLine(all) || 'the build came to no end');
  }

  /** Runs the client and rejects with an {@link EngineError} unless it succeeds. */
  async asked(args: readonly string[]): Promise<Answer> {
    return this.#checked(await this.ask(args));
  }

  /**
   * Runs the client. `secrets` are added to its environment; `folder` is its working directory, by default the root.
   * Rejects with an {@link EngineError} when there is no client, no daemon, or no end.
   */
  async ask(args: readonly string[], secrets: Readonly<Record<string, string>> = {}, folder = '/'): Promise<Answer> {
    const answer = await this.#run(this.#executable, args, secrets, folder);
    if (answer.exitCode !== 0 && isUnreachable(answer.stderr)) throw new EngineError(lastLine(answer.stderr));
    return answer;
  }

  /** Whether the client itself makes use of this variable, so that a run's of that name cannot be handed over by it. */
  uses(variable: string): boolean {
    return variable in this.#env;
  }

  async #run(
    file: string,
    args: readonly string[],
    secrets: Readonly<Record<string, string>>,
    folder: string,
  ): Promise<Answer> {
    const result = await execa(file, args, {
      env: { ...this.#env, ...secrets },
      extendEnv: false,
      cwd: folder,
      stdin: 'ignore',
      reject: false,
      stripFinalNewline: false,
      timeout: this.#commandMaxMs,
      killSignal: 'SIGKILL',
    });
    const { exitCode, stdout, stderr } = result;
    if (exitCode !== undefined) return { exitCode, stdout, stderr };
    if (result.code === 'ENOENT') throw new EngineError(`${this.#executable} is not installed`);
    const how = result.timedOut ? `gave no answer within ${this.#commandMaxMs / 1000} s` : 'was killed';
    throw new EngineError(`the client (${this.kind} ${args[0] ?? ''}) ${how}`);
  }

  #checked(answer: Answer): Answer {
    if (answer.exitCode === 0) return answer;
    throw new EngineError(lastLine(answer.stderr) || `${this.kind} ended with exit code ${answer.exitCode}`);
  }
}

/** Whether the client says that there is no such image. */
export function isUnknownImage(stderr: string): boolean {
  return /no such image|image not known|unable to find image|no such object/i.test(stderr);
}

/** The last line with anything on it: where engines put the reason. */
export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/** Engines print an id with or without its algorithm. */
function withAlgorithm(id: string): string {
  return id.startsWith('sha256:') ? id : `sha256:${id}`;
}

function isUnreachable(stderr: string): boolean {
  return /cannot connect to|is the docker daemon running|error during connect|permission denied while trying/i.test(
    stderr,
  );
}

function dockerState(info: unknown): EngineState {
  // The client without a daemon may end well, with the daemon's part left empty.
  const version = textIn(info, 'ServerVersion');
  if (version === undefined || version === '') return { type: 'unusable', reason: 'its daemon does not answer' };
  const options = field(info, 'SecurityOptions');
  const isRootless = Array.isArray(options) && options.includes('name=rootless');
  return { type: 'usable', version, isRootless, cpus: Number(field(info, 'NCPU')) };
}

function podmanState(info: unknown): EngineState {
  const host = field(info, 'host');
  const isRootless = field(field(host, 'security'), 'rootless') === true;
  const version = textIn(field(info, 'version'), 'Version') ?? 'unknown';
  return { type: 'usable', version, isRootless, cpus: Number(field(host, 'cpus')) };
}

function containerOf(value: unknown): Container {
  const state = field(value, 'State');
  return {
    id: textIn(value, 'Id') ?? '',
    state: stateOf(textIn(state, 'Status') ?? ''),
    exitCode: Number(field(state, 'ExitCode')),
    isOutOfMemory: field(state, 'OOMKilled') === true,
    labels: textsIn(field(field(value, 'Config'), 'Labels')),
  };
}

function stateOf(status: string): Container['state'] {
  if (['created', 'configured', 'initialized'].includes(status)) return 'created';
  return ['exited', 'stopped', 'dead', 'removing'].includes(status) ? 'gone' : 'alive';
}

function jsonOf({ stdout }: Answer): unknown {
  try {
    return JSON.parse(stdout);
  } catch (error) {
    throw new EngineError(`its answer is not understood: ${cut(lastLine(stdout), 200)}`, { cause: error });
  }
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function field(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function textIn(value: unknown, name: string): string | undefined {
  const text = field(value, name);
  return typeof text === 'string' ? text : undefined;
}

function textsIn(value: unknown): Record<string, string> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, text]) => (typeof text === 'string' ? [[name, text]] : [])),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
