// That the suite was told the truth: what a platform is declared to lack its channel does not claim, and the other way
// round. Without it a case that is left out would pass for one that holds.
import type { Showable } from '../channel.ts';
import { assertSent, type Case, firstAttempt, sendText } from './case-support.ts';
import { fail } from './deadline.ts';
import { quoted } from './difference.ts';
import type { PlatformLack } from './platform-under-test.ts';
import type { WatchedPlatform } from './watched-platform.ts';

/** The cases about what the platform is declared to lack. */
export const DECLARATION_CASES: readonly Case[] = [
  {
    name: 'the channel shows and types what its platform has, and nothing that it is declared to lack',
    check: async (platform) => {
      const channel = platform.channel();
      for (const kind of Object.keys(LACK_OF).filter((key) => isShowable(key))) {
        assertDeclared(platform, LACK_OF[kind], channel.shows.has(kind), `"${kind}" in its \`shows\``);
      }
      assertDeclared(platform, 'typing', channel.typing !== undefined, 'a `typing`');
    },
  },
  {
    name: 'the platform under test has the places and ways that it is not declared to lack',
    check: async (platform) => {
      for (const [member, lack] of MEMBERS) {
        if (!platform.has(member) && !platform.lacks(lack)) {
          fail(
            `The platform under test has no \`${member}\`; give it, or declare that the platform lacks ${quoted(lack)}.`,
          );
        }
      }
      for (const place of ['thread', 'group'] as const) {
        const lack = `${place}s` as const;
        if (platform.has(place) && platform.lacks(lack)) {
          fail(`The platform is declared to lack ${quoted(lack)}, and the platform under test has a \`${place}\`.`);
        }
      }
    },
  },
  {
    name: 'a message is sent without an id where the platform has none',
    without: 'message-ids',
    check: async (platform) => {
      const channel = await platform.startedChannel();
      const id = assertSent('A text', await sendText(platform, channel, 'hello', firstAttempt('k1')));
      if (id === null) return;
      fail(`The platform is declared to lack "message-ids", but a text was sent under the id ${quoted(id)}.`);
    },
  },
];

const LACK_OF: Readonly<Record<Showable, PlatformLack>> = {
  files: 'files',
  edit: 'edits',
  reaction: 'reactions',
  question: 'questions',
  card: 'cards',
};

const MEMBERS = [
  ['thread', 'threads'],
  ['group', 'groups'],
  ['repeat', 'redelivery'],
  ['choose', 'questions'],
  ['file', 'files'],
] as const;

function isShowable(key: string): key is Showable {
  return Object.hasOwn(LACK_OF, key);
}

function assertDeclared(platform: WatchedPlatform, lack: PlatformLack, isClaimed: boolean, claim: string): void {
  const isLacking = platform.lacks(lack);
  if (isClaimed && isLacking) fail(`The platform is declared to lack ${quoted(lack)}, but the channel has ${claim}.`);
  if (isClaimed || isLacking) return;
  fail(`The channel does not have ${claim}; give it that, or declare that the platform lacks ${quoted(lack)}.`);
}
