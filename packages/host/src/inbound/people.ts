/**
 * Everything that people do to the host, put together: what they write and press, the questions that wait for them, the
 * approvals that wait for an admin.
 */
import type { ReceivedEvent } from '@nanoclaw/channels';
import type { ApprovalId, Registry } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import type { Voice } from '../channels/index.ts';
import { Approvals, type Deed, once, Questions } from '../decisions/index.ts';
import { inboundId, type Sessions } from '../session/index.ts';
import { type InboundContext, receive, take } from './receive.ts';
import { type LettingIn, letIn, openChat } from './strangers.ts';

/** What the parts about people work with. */
export interface PeopleOptions {
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, 'forKey'>;
  readonly voice: Voice;
  readonly now: () => Millis;
  /** Does what follows from the decision about an action of an agent. */
  readonly applyAction: Deed;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Told of what concerns nobody. Must not throw. */
  readonly onDropped: (event: ReceivedEvent, reason: string) => void;
  /** Told what about an approval could not be done now and is tried again. Must not throw. */
  readonly onTrouble: (approval: ApprovalId, reason: string) => void;
}

/** The people of a host: what they say, are asked, and decide. */
export class People {
  readonly questions: Questions;
  readonly approvals: Approvals;
  readonly #context: InboundContext;
  readonly #now: () => Millis;
  /** What is being taken in: a platform that repeats itself meanwhile waits for the same outcome. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(options: PeopleOptions) {
    const { registry, sessions, voice, now, wake, onDropped, onTrouble, applyAction } = options;
    const lettingIn: LettingIn = {
      registry,
      voice,
      now,
      replay: (message, user, agentGroupId) => take(message, user, this.#context, agentGroupId),
    };
    this.questions = new Questions({ registry, sessions, now, wake });
    this.approvals = new Approvals({
      registry,
      voice,
      now,
      onTrouble,
      deeds: { sender: letIn(lettingIn), channel: openChat(lettingIn), action: applyAction },
    });
    this.#now = now;
    const { questions, approvals } = this;
    this.#context = { registry, sessions, questions, approvals, voice, now, wake, onDropped };
  }

  /** Takes in what somebody has done; see `receive` in `receive.ts`. */
  receive(event: ReceivedEvent): Promise<void> {
    const key = inboundId(event.address, event.platformMessageId);
    return once(this.#underWay, key, () => receive(event, this.#context));
  }

  /** Ends what is over and does what was left undone: to be called at the start, and now and then. */
  async upkeep(): Promise<void> {
    await this.questions.expire(this.#now());
    await this.approvals.upkeep(this.#now());
  }
}
