// The host of the cases: it remembers what it was given, and then stores it, refuses it, or never answers.
import type { IncomingFile, Receive, ReceivedChoice, ReceivedEvent, ReceivedMessage } from '../channel.ts';
import type { Deadline } from './deadline.ts';
import { quoted } from './difference.ts';

/** An event as plain data, so that two of them can be compared. */
type EventContent =
  | ReceivedChoice
  | (Omit<ReceivedMessage, 'files'> & { files: { name: string; mediaType?: string; bytes: Buffer }[] });

/** What the host does once it has read an event. */
export type HostManner = 'stores' | 'refuses' | 'hangs';

/** What a host was given, files and all. */
export class HostInbox {
  readonly events: EventContent[] = [];
  readonly #manner: HostManner;
  readonly #deadline: Deadline;
  /** Why an event could not be read. */
  #failure: unknown;
  #waiting: (() => void)[] = [];

  constructor(manner: HostManner, deadline: Deadline) {
    this.#manner = manner;
    this.#deadline = deadline;
  }

  readonly receive: Receive = async (event) => {
    try {
      this.events.push(await this.#read(event));
    } catch (error) {
      this.#failure = error;
      throw error;
    } finally {
      for (const wake of this.#waiting.splice(0)) wake();
    }
    if (this.#manner === 'refuses') throw new Error('the disk is full');
    if (this.#manner === 'hangs') await new Promise(() => {});
  };

  /** Of the messages, in the order in which they came. */
  texts(): string[] {
    return this.events.flatMap((event) => (event.kind === 'message' ? [event.text] : []));
  }

  /** Resolves once so many events have come. Fails when one of them could not be read. */
  async has(count: number): Promise<void> {
    await this.#deadline.within(
      async () => {
        while (this.events.length < count && this.#failure === undefined) {
          await new Promise<void>((resolve) => {
            this.#waiting.push(resolve);
          });
        }
      },
      () => `The host was given ${this.events.length} of ${count} messages or choices`,
    );
    this.assertReadable();
  }

  /** Fails when an event could not be read. */
  assertReadable(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Reads the files of an event, as a host does before its `receive` resolves. */
  async #read(event: ReceivedEvent): Promise<EventContent> {
    if (event.kind === 'choice') return event;
    const files = [];
    for (const file of event.files) {
      const { name, mediaType } = file;
      const bytes = await this.#deadline.within(
        () => contentOf(file),
        () => `The content of the file ${quoted(name)} did not come to its end`,
      );
      files.push({ name, ...(mediaType === undefined ? {} : { mediaType }), bytes });
    }
    return { ...event, files };
  }
}

async function contentOf(file: IncomingFile): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of file.bytes()) parts.push(part);
  return Buffer.concat(parts);
}
