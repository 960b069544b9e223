/**
 * The parts of a host that deal with people, put together: events of channels, the questions that wait for an answer, the
 * approvals that wait for an admin.
 */
import type { ReceivedEvent } from '@nanoclaw/channels';
import type { ApprovalId, Registry } from '@nanoclaw/registry';
import { isBusy, type Millis } from '@nanoclaw/session-db';
import type { HostMessenger } from '../channels/index.ts';
import { type ApprovalEffect, Approvals, Questions, singleFlight } from '../decisions/index.ts';
import { inboundId, type Sessions } from '../session/index.ts';
import { type InboundPorts, receive, routeMessage } from './receive.ts';
import { type AdmissionPorts, admitChat, admitSender } from './strangers.ts';

/** What the parts about people need. */
export interface PeopleOptions {
  /** Who people are, and which agents are wired to which chats. */
  readonly registry: Registry;
  /** Finds the session that gets a message. */
  readonly sessions: Pick<Sessions, 'forKey'>;
  /** Sends replies, cards and outcomes. */
  readonly messenger: HostMessenger;
  /** Wall-clock milliseconds. */
  readonly now: () => Millis;
  readonly newChats: InboundPorts['newChats'];
  readonly defaultAgent: InboundPorts['defaultAgent'];
  /** Does what follows from the decision about an action of an agent. */
  readonly applyActionOutcome: ApprovalEffect;
  /** Called for a session that has something new to do. Must not throw. */
  readonly wake: (sessionId: string) => void;
  /** Called for an event that went to no agent, with the reason. Must not throw. */
  readonly onDropped: (event: ReceivedEvent, reason: string) => void;
  /** Called when something about an approval failed and will be tried again, with the reason. Must not throw. */
  readonly onTrouble: (approval: ApprovalId, reason: string) => void;
}

/** So many events are kept; those above are the platform's to send again. */
const KEPT_MAX = 1_000;

/** Whether an event failed because the file of a session is locked. */
function isLocked(error: unknown): boolean {
  return isBusy(error) || (error instanceof AggregateError && error.errors.some(isBusy));
}

/** Routes what people send, and keeps what waits for them. */
export class People {
  /** The questions that agents ask. */
  readonly questions: Questions;
  /** The requests that wait for an admin's decision. */
  readonly approvals: Approvals;
  readonly #ports: InboundPorts;
  readonly #now: () => Millis;
  /** Events under way: a platform that repeats one meanwhile waits for the same outcome. */
  readonly #underWay = new Map<string, Promise<void>>();
  /** Events that a locked file has kept from being taken in. */
  readonly #kept = new Map<string, ReceivedEvent>();

  constructor(options: PeopleOptions) {
    const {
      registry,
      sessions,
      messenger,
      now,
      wake,
      newChats,
      defaultAgent,
      onDropped,
      onTrouble,
      applyActionOutcome,
    } = options;
    const admission: AdmissionPorts = {
      registry,
      messenger,
      now,
      replay: (message, user, agentGroupId) => routeMessage(message, user, this.#ports, agentGroupId),
    };
    this.questions = new Questions({ registry, sessions, now, wake });
    this.approvals = new Approvals({
      registry,
      messenger,
      now,
      onTrouble,
      effects: { sender: admitSender(admission), channel: admitChat(admission), action: applyActionOutcome },
    });
    this.#now = now;
    const { questions, approvals } = this;
    this.#ports = { registry, sessions, questions, approvals, messenger, now, newChats, defaultAgent, wake, onDropped };
  }

  /**
   * Handles an event of a channel. Resolves when every session that gets it has it on disk; rejects when the platform is
   * to send it again. One that could not be taken in because a session's file was locked is also tried again by `retryKept`:
   * some platforms would send it at their next start only.
   */
  async receive(event: ReceivedEvent): Promise<void> {
    const key = inboundId(event.address, event.platformMessageId);
    try {
      await singleFlight(this.#underWay, key, () => receive(event, this.#ports));
      this.#kept.delete(key);
    } catch (error) {
      if (isLocked(error) && this.#kept.size < KEPT_MAX) this.#kept.set(key, event);
      throw error;
    }
  }

  /** Tries again to take in what a locked file has kept out. To be called now and then. */
  async retryKept(): Promise<void> {
    const kept = [...this.#kept.values()];
    this.#kept.clear();
    for (const event of kept) {
      // What still fails is kept again if it is for the same reason, and else is the platform's to send.
      await this.receive(event).catch(() => undefined);
    }
  }

  /** Expires what is over and finishes what was interrupted: to be called at the start, and about once a minute. */
  async upkeep(): Promise<void> {
    await this.questions.expire(this.#now());
    await this.approvals.upkeep(this.#now());
  }
}
