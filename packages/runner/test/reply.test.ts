import type { Destination } from '@nanoclaw/session-db';
import { describe, expect, it } from 'vitest';
import { NOTHING_SAID, type ReplyOptions, replies, replyKey } from '../src/reply.ts';
import { OTHER_PLACE, PLACE } from './support.ts';

const DESTINATIONS: readonly Destination[] = [
  { name: 'team', displayName: 'Team', type: 'channel', channelType: 'terminal', platformId: 'team' },
  { name: 'other', displayName: 'Other', type: 'channel', channelType: 'terminal', platformId: 'other' },
  { name: 'helper', displayName: 'Helper', type: 'agent', agentGroupId: 'g2' },
];
const TEAM = { channelType: 'terminal', platformId: 'team', threadId: null };

function said(text: string | null, more: Partial<ReplyOptions> = {}): [string | undefined, string][] {
  const setting = {
    origin: PLACE,
    destinations: DESTINATIONS,
    said: new Set<string>(),
    isVisible: false,
    isAsked: true,
  };
  return replies(text, { ...setting, ...more }).map((one) => [one.address?.platformId, one.text]);
}

describe('the replies of a final text', () => {
  it('are the text itself, to the origin', () => {
    expect(said('  hello\n')).toEqual([['main', 'hello']]);
  });

  it('leave out internal text, an unclosed one to the end', () => {
    expect(said('<internal>hm</internal>hello <internal>still\nthinking')).toEqual([['main', 'hello']]);
  });

  it('go to the places they name, and what is left to the origin', () => {
    expect(said('<message to="team">a</message>b<message to="helper">c</message>')).toEqual([
      ['team', 'a'],
      ['g2', 'c'],
      ['main', 'b'],
    ]);
  });

  it('keep a place’s thread only at the origin', () => {
    const [reply] = replies('<message to="other">x</message>', {
      origin: OTHER_PLACE,
      destinations: DESTINATIONS,
      said: new Set(),
      isVisible: false,
      isAsked: true,
    });
    expect(reply?.address).toEqual(OTHER_PLACE);
    const [elsewhere] = replies('<message to="other">x</message>', {
      origin: PLACE,
      destinations: DESTINATIONS,
      said: new Set(),
      isVisible: true,
      isAsked: true,
    });
    expect(elsewhere?.address).toEqual({ ...OTHER_PLACE, threadId: null });
  });

  it('keep text for a name that is not known where it can be read', () => {
    expect(said('<message to="nobody">a</message>')).toEqual([['main', '<message to="nobody">a</message>']]);
  });

  it('are not sent where the turn has said the same already, and are where it has said something else (failure 42)', () => {
    const setting = { said: new Set([replyKey({ address: PLACE, text: 'again' })]), isVisible: true };
    expect(said(' again\n', setting)).toEqual([]);
    expect(said('and this', setting)).toEqual([['main', 'and this']]);
    expect(said('again, and this', setting)).toEqual([['main', 'again, and this']]);
    expect(said('<message to="team">again</message>', setting)).toEqual([['team', 'again']]);
    const elsewhere = { said: new Set([replyKey({ address: TEAM, text: 'again' })]) };
    expect(said('again<message to="team">again</message>', elsewhere)).toEqual([['main', 'again']]);
  });

  it('are one notice when a person asked and nothing is to be seen where they asked', () => {
    expect(said(null)).toEqual([['main', NOTHING_SAID]]);
    expect(said('<internal>x</internal>')).toEqual([['main', NOTHING_SAID]]);
    expect(said('<message to="team">a</message>')).toEqual([
      ['team', 'a'],
      ['main', NOTHING_SAID],
    ]);
    expect(said(null, { isVisible: true })).toEqual([]);
    expect(said(null, { isAsked: false })).toEqual([]);
  });

  it('of a text longer than a row holds are several, with nothing cut', () => {
    const line = `${'x'.repeat(99)}\n`;
    const long = line.repeat(4_000);
    const parts = said(long);
    expect(parts.length).toBe(3);
    expect(parts.map(([, text]) => text).join('')).toBe(long.trim());
    expect(parts[0]?.[1].endsWith('\n')).toBe(true);
    const faces = '😀'.repeat(160_000);
    expect(said(`a${faces}`).every(([, text]) => !/^[\uDC00-\uDFFF]|[\uD800-\uDBFF]$/.test(text))).toBe(true);
  });
});
