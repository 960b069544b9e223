/** Tools that show something to people: messages, files, cards, and changes to earlier messages. */
import type { Address, MessageRef } from '@nanoclaw/session-db';
import { outgoingFile } from '../files.ts';
import type { Tool } from '../provider.ts';
import { namedPlace } from '../reply.ts';
import type { ToolScope } from './scope.ts';
import { jsonObject, optional, ToolInputError, text, tool, wholeNumber } from './tool.ts';

const BESIDES = 'Your final text goes out besides: let it be empty when there is nothing to add.';

export function messageTools(scope: ToolScope): Tool[] {
  return [sendMessage(scope), sendFile(scope), editMessage(scope), addReaction(scope), sendCard(scope)];
}

const to = optional(text('to', 'The name of a place; left out: where you are asked from.', 200));

function sendMessage(scope: ToolScope): Tool {
  const what = text('text', 'What to say.');
  return tool({
    name: 'send_message',
    description: `Sends a message at once and gives its number. ${BESIDES}`,
    fields: [what, to],
    call: async (input) => {
      const number = await scope.say({ text: what.of(input) }, place(scope, to.of(input)));
      return `Sent as message ${number}.`;
    },
  });
}

function sendFile(scope: ToolScope): Tool {
  const path = text('path', 'The file, relative to your folder or absolute.', 4_000);
  const caption = optional(text('text', 'A text to go with it.'));
  const filename = optional(text('filename', "The name people see; the file's own when left out.", 120));
  return tool({
    name: 'send_file',
    description: `Sends a file and gives the message's number. ${BESIDES}`,
    fields: [path, to, caption, filename],
    call: async (input) => {
      const address = place(scope, to.of(input));
      const file = await outgoingFile(path.of(input), filename.of(input), scope.cwd);
      const number = await scope.say({ text: caption.of(input) ?? '' }, address, [file]);
      return `Sent ${file.name} as message ${number}.`;
    },
  });
}

const messageId = wholeNumber('messageId', 'The number of the message.', 1, Number.MAX_SAFE_INTEGER);

function editMessage(scope: ToolScope): Tool {
  const what = text('text', 'The new text, as a whole.');
  return tool({
    name: 'edit_message',
    description: 'Replaces the text of a message that you have sent.',
    fields: [messageId, what],
    call: async (input) => {
      const number = messageId.of(input);
      if (number % 2 === 0) throw new ToolInputError(`Message ${number} is not yours, so it cannot be edited.`);
      const { address } = await existing(scope, number);
      await scope.say({ operation: 'edit', messageId: number, text: what.of(input) }, address);
      return `Message ${number} is being edited.`;
    },
  });
}

function addReaction(scope: ToolScope): Tool {
  const emoji = text('emoji', 'One emoji, or its short name.', 64);
  return tool({
    name: 'add_reaction',
    description: 'Puts an emoji on a message, of a person or your own.',
    fields: [messageId, emoji],
    call: async (input) => {
      const number = messageId.of(input);
      const { address } = await existing(scope, number);
      await scope.say({ operation: 'reaction', messageId: number, emoji: emoji.of(input) }, address);
      return `Reacted to message ${number}.`;
    },
  });
}

function sendCard(scope: ToolScope): Tool {
  const card = jsonObject('card', 'The card, as JSON that the platform knows.');
  const fallbackText = optional(text('fallbackText', 'What is shown where cards are not known.'));
  return tool({
    name: 'send_card',
    description: `Sends a card to where you are asked from. ${BESIDES}`,
    fields: [card, fallbackText],
    call: async (input) => {
      const fallback = fallbackText.of(input);
      const content = {
        operation: 'card',
        card: card.of(input),
        ...(fallback === undefined ? {} : { fallbackText: fallback }),
      };
      const number = await scope.say(content, scope.origin());
      return `Sent as message ${number}.`;
    },
  });
}

/** The address behind a name, or the turn's origin; throws with the names there are. */
function place(scope: ToolScope, name: string | undefined): Address | null {
  if (name === undefined) return scope.origin();
  const destinations = scope.destinations();
  const address = namedPlace(name, destinations, scope.origin());
  if (address !== undefined) return address;
  const known = destinations.map((one) => one.name).join(', ') || 'none';
  throw new ToolInputError(
    `There is no place named ${JSON.stringify(name)}, so nothing was sent. Places that may be written to from here: ${known}.`,
  );
}

async function existing(scope: ToolScope, number: number): Promise<MessageRef> {
  const message = await scope.messageAt(number);
  if (message !== 'unknown') return message;
  throw new ToolInputError(`There is no message ${number} in this conversation.`);
}
