// The terminal as the suite of the contract sees it: a person with clients in front of a real channel.
import type { Address } from '../src/channel.ts';
import type { PlatformUnderTest, UserMessage, VisibleMessage } from '../src/contract/index.ts';
import type { TerminalMessage } from '../src/terminal/protocol.ts';
import { terminalSocketPath } from '../src/terminal/terminal-channel.ts';
import { TerminalClient } from '../src/terminal/terminal-client.ts';
import { folded, MAIN, readFiles, World } from './support.ts';

export async function openTerminal(): Promise<PlatformUnderTest> {
  const world = new World();
  let last: { message: UserMessage; id: string; paths: string[] } | undefined;
  const send = async (message: UserMessage, id: string, paths: string[]) => {
    const { client } = await world.client({ chat: (message.at ?? MAIN).platformId });
    const sent = paths.length === 0 ? client.send(message.text, id) : client.sendFiles(paths, message.text, id);
    return { acknowledged: isTaken(sent) };
  };
  return {
    address: MAIN,
    channel: () => world.channel(),
    say: (message) => {
      last = {
        message,
        id: world.newId(),
        paths: (message.files ?? []).map(({ name, bytes }) => world.file(bytes, name)),
      };
      return send(last.message, last.id, last.paths);
    },
    repeat: async () => {
      if (last === undefined) throw new Error('nothing was said');
      return send(last.message, last.id, last.paths);
    },
    choose: async (questionId, choice) => {
      const { client } = await world.client();
      return { acknowledged: isTaken(client.choose(questionId, choice)) };
    },
    visibleMessages: (address) => shownInTerminal(world, address),
    file: async (content) => world.file(content),
    close: () => world.close(),
  };
}

function isTaken(sent: Promise<unknown>): Promise<boolean> {
  return sent.then(
    () => true,
    () => false,
  );
}

/** What a new client of the chat is shown, with a message of its own as the sign that it has seen all. */
async function shownInTerminal(world: World, { platformId }: Address): Promise<VisibleMessage[]> {
  const viewer = world.channel();
  // The channel of the test may be running; then it is the one to look through.
  await viewer.start(async () => {}).catch(() => {});
  const messages: TerminalMessage[] = [];
  const client = await TerminalClient.connect(terminalSocketPath(world.folder), {
    chat: platformId,
    after: 0,
    newId: () => 'unused',
    onMessage: (message) => messages.push(message),
  });
  // An empty message is refused, and answers come after the messages that were there before.
  await client.send(' ').catch(() => {});
  await client.close();
  await viewer.stop();
  return folded(
    messages.map((message) => ({
      ...message,
      platformMessageId: `terminal:${message.n}`,
      files: message.kind === 'text' ? readFiles(message.files) : [],
    })),
  );
}
