/**
 * What is to be done with the messages that were just claimed, and in which turns. Pure.
 *
 * A turn belongs to one place: so its answer has one origin, and no thread of one chat is used in another.
 */
import { type Address, addressKey, type Claim, type Claimed, type InboundMessage } from '@nanoclaw/session-db';
import { type Content, readContent } from './content.ts';

/** A claimed message whose content is known to be sound. */
export interface ClaimedItem {
  readonly claim: Claim;
  readonly message: InboundMessage;
  readonly content: Content;
}

/** The messages of one turn, oldest first. */
export interface Batch {
  readonly place: string;
  readonly items: readonly ClaimedItem[];
}

export interface Intake {
  /** To be failed alone, each with its reason. */
  readonly poison: readonly { readonly claim: Claim; readonly reason: string }[];
  readonly stops: readonly ClaimedItem[];
  readonly clears: readonly ClaimedItem[];
  /** Answers that the running turn waits for. */
  readonly awaited: readonly ClaimedItem[];
  /** Tasks whose script decides first. */
  readonly gated: readonly ClaimedItem[];
  /** For the model. */
  readonly work: readonly ClaimedItem[];
}

/** Sorts claimed messages; `isAwaited` says whether the running turn waits for an answer to this outbound id. */
export function sortIntake(claimed: readonly Claimed[], isAwaited: (messageOutId: string) => boolean): Intake {
  const poison: { claim: Claim; reason: string }[] = [];
  const stops: ClaimedItem[] = [];
  const clears: ClaimedItem[] = [];
  const awaited: ClaimedItem[] = [];
  const gated: ClaimedItem[] = [];
  const work: ClaimedItem[] = [];
  for (const one of claimed) {
    if (one.type === 'poison') {
      poison.push(one);
      continue;
    }
    const { claim, message } = one;
    const content = readContent(message);
    if (content.type === 'unreadable') {
      poison.push({ claim, reason: content.reason });
      continue;
    }
    const item: ClaimedItem = { claim, message, content };
    if (content.type === 'command' && content.command === '/stop') stops.push(item);
    else if (content.type === 'command' && content.command === '/clear') clears.push(item);
    else if (message.inReplyTo !== null && isAwaited(message.inReplyTo)) awaited.push(item);
    else if (content.type === 'task' && content.script !== undefined) gated.push(item);
    else work.push(item);
  }
  return { poison, stops, clears, awaited, gated, work };
}

/**
 * Adds messages to the turns that wait, oldest place first. Context goes with its own place, or else with the first
 * turn there is; alone it makes no turn. A command is a turn of its own, and what comes after it is not put before it.
 */
export function withWork(waiting: readonly Batch[], work: readonly ClaimedItem[]): Batch[] {
  const batches = [...waiting];
  const context = work.filter((item) => item.message.trigger === 'context');
  for (const item of work.filter((one) => one.message.trigger === 'wakes')) {
    const place = placeOf(item);
    const at = batches.findLastIndex((batch) => batch.place === place || isCommand(batch));
    const batch = batches[at];
    if (batch === undefined || batch.place !== place || isCommandItem(item)) batches.push({ place, items: [item] });
    else batches[at] = { place, items: inOrder([...batch.items, item]) };
  }
  for (const item of context) {
    const at = Math.max(
      batches.findIndex((batch) => batch.place === placeOf(item) && !isCommand(batch)),
      0,
    );
    const batch = batches[at];
    if (batch !== undefined) batches[at] = { place: batch.place, items: inOrder([...batch.items, item]) };
  }
  return batches;
}

/** What a message's turn is named by: its address, or that it has none. A command is in a turn of its own. */
function placeOf({ message, content }: ClaimedItem): string {
  if (content.type === 'command') return `command ${message.id}`;
  return addressPlace(message.address);
}

/** The place of an address, as `Batch.place` has it. */
export function addressPlace(address: Address | null): string {
  return address === null ? 'no place' : addressKey(address);
}

function isCommand(batch: Batch): boolean {
  return batch.items.some(isCommandItem);
}

function isCommandItem(item: ClaimedItem): boolean {
  return item.content.type === 'command';
}

function inOrder(items: readonly ClaimedItem[]): ClaimedItem[] {
  return items.toSorted((a, b) => a.message.seq - b.message.seq);
}

/**
 * The waiting messages that may be fed into a running turn of `place`, and what then waits on; `undefined` when there
 * are none, or a command stands before them.
 */
export function followUp(waiting: readonly Batch[], place: string): { batch: Batch; rest: Batch[] } | undefined {
  const at = waiting.findIndex((batch) => batch.place === place || isCommand(batch));
  const batch = waiting[at];
  return batch?.place === place ? { batch, rest: waiting.toSpliced(at, 1) } : undefined;
}

/** Takes out of the waiting messages those of a place that were said before the message with number `seq`. */
export function withoutEarlier(
  waiting: readonly Batch[],
  place: string,
  seq: number,
): { dropped: ClaimedItem[]; rest: Batch[] } {
  const isDropped = (item: ClaimedItem): boolean =>
    addressPlace(item.message.address) === place && item.message.seq < seq;
  return {
    dropped: waiting.flatMap((batch) => batch.items.filter(isDropped)),
    rest: waiting
      .map((batch) => ({ place: batch.place, items: batch.items.filter((item) => !isDropped(item)) }))
      .filter((batch) => batch.items.some((item) => item.message.trigger === 'wakes')),
  };
}
