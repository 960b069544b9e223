// The platform under test as the cases use it: no call is waited for longer than the deadline, and what is thrown or
// missing is told in a sentence.
import type { Address, Channel } from '../channel.ts';
import { errorMessage } from '../error-message.ts';
import { ContractFailure, type Deadline, fail } from './deadline.ts';
import { HostInbox, type HostManner } from './host-inbox.ts';
import type {
  PendingAck,
  PlatformLack,
  PlatformUnderTest,
  UserMessage,
  VisibleMessage,
} from './platform-under-test.ts';

/** Something that the person did. */
export interface UserAction {
  /** Whether the channel has acknowledged it; `undefined` on a platform that is not told. */
  acknowledged(): Promise<boolean | undefined>;
}

/** A platform under test, watched. */
export class WatchedPlatform {
  readonly address: Address;
  readonly #platform: PlatformUnderTest;
  readonly #lacks: ReadonlySet<PlatformLack>;
  readonly #deadline: Deadline;

  constructor(platform: PlatformUnderTest, lacks: ReadonlySet<PlatformLack>, deadline: Deadline) {
    this.#platform = platform;
    this.#lacks = lacks;
    this.#deadline = deadline;
    this.address = platform.address;
  }

  /** Whether the platform is declared to be without this. */
  lacks(what: PlatformLack): boolean {
    return this.#lacks.has(what);
  }

  /** Whether the platform under test has this member, which not every one needs. */
  has(member: OptionalMember): boolean {
    return this.#platform[member] !== undefined;
  }

  get thread(): Address {
    return this.#platform.thread ?? missing('thread');
  }

  get group(): Address {
    return this.#platform.group ?? missing('group');
  }

  /** A channel, not started. */
  channel(): Channel {
    return watchedChannel(this.#platform.channel(), this.#deadline);
  }

  /** A channel that runs, for a host that stores everything. */
  async startedChannel(): Promise<Channel> {
    const channel = this.channel();
    await channel.start(this.host().receive);
    return channel;
  }

  /** A host; it stores everything unless it is to do otherwise. */
  host(manner: HostManner = 'stores'): HostInbox {
    return new HostInbox(manner, this.#deadline);
  }

  /** The person writes. */
  async say(message: UserMessage): Promise<UserAction> {
    return this.#action('say', () => this.#platform.say(message));
  }

  /** What the person did last comes once more. */
  async repeat(): Promise<UserAction> {
    return this.#action('repeat', async () => (this.#platform.repeat ?? missing('repeat')).call(this.#platform));
  }

  /** The person chooses. */
  async choose(questionId: string, choice: number): Promise<UserAction> {
    const { choose = missing('choose') } = this.#platform;
    return this.#action('choose', () => choose.call(this.#platform, questionId, choice));
  }

  /** What a person sees there. */
  visibleMessages(address: Address): Promise<readonly VisibleMessage[]> {
    return watched(this.#deadline, "the platform's `visibleMessages`", () => this.#platform.visibleMessages(address));
  }

  /** The path of a new file with this content. */
  async file(content: Uint8Array): Promise<string> {
    const { file = missing('file') } = this.#platform;
    return watched(this.#deadline, "the platform's `file`", () => file.call(this.#platform, content));
  }

  /** Waits for something else than a call. */
  within<Result>(work: Promise<Result>, waitedFor: string): Promise<Result> {
    return this.#deadline.within(
      () => work,
      () => waitedFor,
    );
  }

  /** Ends all that the platform under test has started. */
  close(): Promise<void> {
    return watched(this.#deadline, "the platform's `close`", () => this.#platform.close());
  }

  async #action(name: string, work: () => Promise<PendingAck | undefined>): Promise<UserAction> {
    const pending = await watched(this.#deadline, `the platform's \`${name}\``, work);
    if (this.lacks('acknowledgements')) return { acknowledged: async () => undefined };
    if (pending === undefined) {
      fail(`The platform's \`${name}\` gave no \`acknowledged\`, and it is not declared to lack acknowledgements.`);
    }
    void Promise.allSettled([pending.acknowledged]); // a case that fails before looks at it no more
    return {
      acknowledged: () =>
        this.#deadline.within(
          () => pending.acknowledged,
          () => 'The channel neither acknowledged to the platform what the person did, nor refused it,',
        ),
    };
  }
}

/** What a platform under test may leave out. */
type OptionalMember = 'thread' | 'group' | 'repeat' | 'choose' | 'file';

function missing(member: OptionalMember): never {
  return fail(`The platform under test has no \`${member}\`, and is not declared to lack what it is for.`);
}

function watchedChannel(channel: Channel, deadline: Deadline): Channel {
  const call = <Result>(name: string, work: () => Promise<Result>) => watched(deadline, `\`${name}\``, work);
  const { typing } = channel;
  return {
    type: channel.type,
    duplicates: channel.duplicates,
    limits: channel.limits,
    shows: channel.shows,
    start: (receive) => call('start', () => channel.start(receive)),
    send: (address, message, attempt) => call('send', () => channel.send(address, message, attempt)),
    stop: () => call('stop', () => channel.stop()),
    health: () => channel.health(),
    directAddress: (handle) => call('directAddress', () => channel.directAddress(handle)),
    ...(typing === undefined
      ? {}
      : { typing: (address: Address) => call('typing', () => typing.call(channel, address)) }),
  };
}

/** Makes a call of the channel or the platform. Fails in a sentence when it does not settle, throws or rejects. */
async function watched<Result>(deadline: Deadline, name: string, work: () => Promise<Result>): Promise<Result> {
  const start = name.charAt(0).toUpperCase() + name.slice(1);
  try {
    return await deadline.within(
      async () => work(),
      () => `${start} did not settle`,
    );
  } catch (error) {
    if (error instanceof ContractFailure) throw error;
    throw new CallRejected(`${start} rejected: ${errorMessage(error)}`, { cause: error });
  }
}

/** A call that settled, by rejecting. */
export class CallRejected extends ContractFailure {}
