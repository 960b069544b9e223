/**
 * The port behind which a model and its tools live. The runner gives a provider one prompt at a time and
 * reads events until the turn has a result; it knows nothing else of the model.
 *
 * A provider never touches the session's files: what it wants said or done goes through the turn's events and
 * through the tools it is handed, which run in the runner's process, where the turn's state lives.
 */
import type { Address, DeferralKind, InboundMessage, JsonObject, Millis } from '@nanoclaw/session-db';

/** A model and its tools, behind one name. The name is also the key under which its continuation is kept. */
export interface Provider {
  /** What an agent group's `provider` says when it means this one. */
  readonly name: string;

  /**
   * Starts a turn. Never throws: trouble comes as an `error` event, because a turn that failed must still be
   * acknowledged as failed by whoever started it.
   */
  start(prompt: Prompt, options: StartOptions): Turn;
}

/** What a turn is asked: the text for a model, and the messages it was made of for providers that read those. */
export interface Prompt {
  /** All of it, for a model. */
  readonly text: string;
  /** The messages that the text was made of, oldest first. */
  readonly messages: readonly InboundMessage[];
  /**
   * What an earlier attempt at these messages, which was cut off, has done with its tools. It stands: the same call now does
   * nothing and gives the same answer. The text says all of it too.
   */
  readonly done: readonly DoneEffect[];
}

/** Something that an attempt which was cut off has done. */
export interface DoneEffect {
  /** The tool that was called. */
  readonly tool: string;
  /** The number of the message that it has become. */
  readonly number: number;
  /** Where it went; `null`: to where the session answers. */
  readonly address: Address | null;
  /** The content of its row. */
  readonly content: JsonObject;
  /** What came of a request or a question; `undefined`: nothing yet, or nothing that is answered. */
  readonly answer: string | undefined;
}

/** What a turn is begun with. */
export interface StartOptions {
  /** The provider's own opaque token of an earlier turn of this session; `undefined` starts afresh. */
  readonly continuation: string | undefined;
  /** The agent's own folder: the working directory of whatever the provider starts. */
  readonly cwd: string;
  /** Appended to the provider's own system prompt. */
  readonly instructions: string;
  /** The model's name for the provider; `undefined`: the provider's own default. */
  readonly model: string | undefined;
  /** `undefined`: the provider's own default. */
  readonly effort: Effort | undefined;
  /** Those of the runner, for the provider to offer beside its own. */
  readonly tools: readonly Tool[];
  /** Servers of more tools, under the names that these are found by; the provider starts or calls them itself. */
  readonly mcpServers: Readonly<Record<string, McpServer>>;
  /** What the model is told of. */
  readonly skills: readonly Skill[];
}

/** How hard a model thinks, from the quickest to the most thorough. */
export const EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'] as const;
/** How hard a model is to think. */
export type Effort = (typeof EFFORTS)[number];

/** A server of the Model Context Protocol: a program that speaks it on its standard input and output, or an address. */
export type McpServer =
  | {
      readonly type: 'stdio';
      /** The program, as the container finds it. */
      readonly command: string;
      /** Its arguments; no shell reads them. */
      readonly args: readonly string[];
      /** Variables for it, over and above what the provider hands on. */
      readonly env: Readonly<Record<string, string>>;
    }
  | {
      readonly type: 'http';
      /** The whole address, `http:` or `https:`. */
      readonly url: string;
      /** What goes along with each request, by name. */
      readonly headers: Readonly<Record<string, string>>;
    };

/** Know-how that a model is told of and reads when it needs it: a folder with a `SKILL.md` that bears the same name. */
export interface Skill {
  /** The name of the folder too. */
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
}

/** One turn with the model: input to result, once. */
export interface Turn {
  /** Ends after exactly one `result` or `error`, which is the last event. To be read once. */
  readonly events: AsyncIterable<TurnEvent>;
  /**
   * Gives the running turn a follow-up. True: taken, and the turn's `result` comes only once it is answered too.
   * False: not taken, because the turn is ending or has enough to do; it belongs to the next turn.
   */
  push(prompt: Prompt): boolean;
  /** Stops the turn; its last event is then `error` with `reason`. */
  abort(reason: string): void;
}

/** What a provider lets the runner see of a turn. The last one is `result` or `error`, and nothing follows it. */
export type TurnEvent =
  /** The token by which a later turn resumes; sent as soon as it is known, so that a crash keeps it. */
  | {
      readonly type: 'continuation';
      /** Opaque to all but the provider. */
      readonly token: string;
    }
  /**
   * The model did something: the sign of progress that a silent run is judged by. A turn that gives no event for five minutes,
   * while it waits for no tool, is aborted: its model counts as unavailable.
   */
  | { readonly type: 'progress' }
  /** A tool began. Several may be in flight at once. */
  | {
      readonly type: 'tool-started';
      /** Unique among the tools in flight; `tool-ended` names it again. */
      readonly toolUseId: string;
      /** The tool's name, for the host's judgement and the log. */
      readonly name: string;
      /** What the tool declared as its time-out, in milliseconds; left out when it declared none. */
      readonly timeoutMs?: number;
    }
  | {
      readonly type: 'tool-ended';
      /** As `tool-started` gave it. */
      readonly toolUseId: string;
    }
  /** The turn is over. */
  | {
      readonly type: 'result';
      /** The final answer; `null` when the model had nothing to say. */
      readonly text: string | null;
      /** What the turn cost. */
      readonly usage: Usage;
    }
  /** The turn failed: its messages are to be tried again, when and how often by its kind. */
  | ({
      readonly type: 'error';
      /** What went wrong, as one sentence: for the message's error, and for the people who wait for its answer. */
      readonly reason: string;
      /** What it cost all the same, where the provider knows. */
      readonly usage?: Usage;
    } & TurnFailure);

/** Whose fault it was. */
export type TurnFailure =
  | {
      /** Anything may be at fault, the messages too: they have a limited number of tries. */
      readonly kind: 'failed';
      /** The token given to `start` is dead: the runner forgets it and starts afresh. */
      readonly lostContinuation: boolean;
    }
  | {
      /**
       * The model's, which costs the messages no try. `refused`: it will have nothing to do with us until a person acts (a wrong
       * key, no credit, no access). `unavailable`: it is away, overloaded, or asked too often, and that will pass.
       */
      readonly kind: DeferralKind;
      /** How long it wants to be left alone, in milliseconds; left out where it did not say. */
      readonly retryAfterMs?: Millis;
    };

/** How a turn ends: its last event. */
export type TurnEnd = Extract<
  TurnEvent,
  {
    /** Of the event. */
    readonly type: 'result' | 'error';
  }
>;

/** What a turn cost, as the provider reports it. Unknown figures are `null`, never 0. */
export interface Usage {
  /** What the model read, what came from the cache included. */
  readonly inputTokens: number | null;
  /** What the model wrote. */
  readonly outputTokens: number | null;
  /** Of the input, what was read from the provider's cache. */
  readonly cacheReadTokens: number | null;
  /** In US dollars. */
  readonly costUsd: number | null;
}

/** A tool that the runner offers to the model. */
export interface Tool {
  /** As the model calls it. */
  readonly name: string;
  /** For the model: what it does, and when to use it. */
  readonly description: string;
  /** JSON Schema (draft 7, type `object`) of the arguments. */
  readonly inputSchema: Readonly<Record<string, unknown>>;
  /** How long a call may take before the host may judge the run as stuck. */
  readonly timeoutMs: Millis | undefined;
  /** Runs the tool. What it throws is shown to the model as the tool's error. */
  call(input: Readonly<Record<string, unknown>>): Promise<string>;
}
