/**
 * What the world sees of a turn's final text. Pure, and held by golden tests.
 *
 * What was said is compared, not whether something was: a final text is left out only where the same text has gone in the
 * same turn, and a person who asked and would see nothing gets one notice.
 */
import { type Address, addressKey, type Destination } from '@nanoclaw/session-db';
import { characterEnd, endWithin } from '@nanoclaw/session-db/text';
import { addressed } from './markup.ts';
import { destinationAddress, placeName } from './prompt.ts';

/** A text for a place; `null` asks for the session's default reply address. */
export interface Reply {
  readonly address: Address | null;
  readonly text: string;
}

/** What decides which replies a final text amounts to. */
export interface ReplyOptions {
  /** Where the turn came from. */
  readonly origin: Address | null;
  readonly destinations: readonly Destination[];
  /** Keys (`replyKey`) of the texts that the turn has already shown by a tool. */
  readonly said: ReadonlySet<string>;
  /** Whether anything of the turn is visible at its origin already, an edit or a reaction included. */
  readonly isVisible: boolean;
  /** Whether a person waits for the turn's answer. */
  readonly isAsked: boolean;
}

/** For a person whose turn ended with nothing to see. */
export const NOTHING_SAID =
  'The agent has read this and finished without an answer. Nothing was lost; write again if you expected one.';

/**
 * The longest text of one row, in UTF-16 units: a host refuses rows above 1 MiB, and a unit may take six bytes as JSON.
 */
const TEXT_LENGTH_MAX = 150_000;

/** The replies that a final text amounts to; `null` is a turn without one. */
export function replies(finalText: string | null, options: ReplyOptions): Reply[] {
  const spoken = addressedReplies(finalText ?? '', options)
    .filter((reply) => !options.said.has(replyKey(reply)))
    .flatMap(({ address, text }) => pieces(text).map((piece) => ({ address, text: piece })));
  const origin = placeKey(options.origin);
  const isSilent = !options.isVisible && !spoken.some((reply) => placeKey(reply.address) === origin);
  return isSilent && options.isAsked ? [...spoken, { address: options.origin, text: NOTHING_SAID }] : spoken;
}

/** One text per place, to compare places by. */
export function placeKey(address: Address | null): string {
  return address === null ? 'default' : addressKey(address);
}

/** One text per reply, to compare what was said by: the blanks between its words are no difference. */
export function replyKey({ address, text }: Reply): string {
  return `${placeKey(address)} ${text.trim().replaceAll(/\s+/g, ' ')}`;
}

/** Splits a final text by its destinations: what is for a place that is known goes there, the rest to the origin. */
function addressedReplies(finalText: string, options: ReplyOptions): Reply[] {
  const { text, elsewhere } = addressed(finalText, (name) => namedPlace(name, options.destinations, options.origin));
  const there = elsewhere.map((one) => ({ address: one.place, text: one.text.trim() }));
  return [...there, { address: options.origin, text: text.trim() }].filter((reply) => reply.text !== '');
}

/**
 * The address of a destination by its name; `undefined` for a name that is not known. The place the turn came from
 * keeps its thread; no other place is given one.
 */
export function namedPlace(
  name: string,
  destinations: readonly Destination[],
  origin: Address | null,
): Address | undefined {
  const destination = destinations.find((one) => one.name === name);
  if (destination === undefined) return undefined;
  return placeName(origin, [destination]) !== undefined && origin !== null ? origin : destinationAddress(destination);
}

function pieces(text: string): string[] {
  const cut: string[] = [];
  let rest = text;
  while (rest.length > TEXT_LENGTH_MAX) {
    const at = breakBefore(rest, TEXT_LENGTH_MAX);
    cut.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  return [...cut, rest];
}

/** The last end of a line in the second half of what fits, or else as much as fits without cutting a character. */
function breakBefore(text: string, lengthMax: number): number {
  const newline = text.lastIndexOf('\n', lengthMax - 1);
  if (newline >= lengthMax / 2) return newline + 1;
  return characterEnd(text, 0, endWithin(text, 0, { max: lengthMax, unit: 'utf16-units' }));
}
