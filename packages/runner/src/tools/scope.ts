/**
 * What the tools need of the turn they run in. They run where the turn's state lives, so what they send carries the
 * message that it answers.
 */

import type {
  Address,
  Destination,
  InboundMessage,
  Json,
  JsonObject,
  MessageRef,
  Millis,
  OpenTask,
} from '@nanoclaw/session-db';
import type { OutgoingFile } from '../files.ts';

/**
 * The turn as its tools see it. Every method throws once the turn is over: a late call must not speak for a later one. What an
 * attempt that was cut off has said, asked or requested already is not done again, and gives what it gave then.
 */
export interface ToolScope {
  readonly timeZone: string;
  /** The agent's folder, which relative paths start from. */
  readonly cwd: string;
  /** Where the turn came from. */
  readonly origin: () => Address | null;
  /** Where this agent may write to; throws when the host's file cannot be read just now. */
  readonly destinations: () => readonly Destination[];
  /** The message with a number; waits while the host is writing, and throws when that does not end. */
  readonly messageAt: (seq: number) => Promise<MessageRef | 'unknown'>;
  /** The tasks yet to run; waits while the host is writing, and throws when that does not end. */
  readonly tasks: () => Promise<readonly OpenTask[]>;
  /** Writes a chat message for the world and returns its number. */
  readonly say: (content: JsonObject, address: Address | null, files?: readonly OutgoingFile[]) => Promise<number>;
  /** Asks a person, till a time-out from now, and waits for the answer; `undefined` when none came in time. */
  readonly ask: (content: JsonObject, timeoutMs: Millis) => Promise<InboundMessage | undefined>;
  /** Asks the host for an action and waits a moment for its result. */
  readonly request: (action: string, parameters: Readonly<Record<string, Json>>) => Promise<RequestResult>;
}

export type RequestResult =
  | { readonly type: 'ok'; readonly text: string }
  | { readonly type: 'error'; readonly text: string }
  /** The host has not answered yet; its result will come as a message of its own. */
  | { readonly type: 'later'; readonly number: number };
