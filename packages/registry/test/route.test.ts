import { describe, expect, it } from 'vitest';
import type { SessionMode, WiredAgent } from '../src/entities.ts';
import {
  type AgentGroup,
  type AgentGroupId,
  isId,
  type MessagingGroup,
  type MessagingGroupId,
  type Person,
  type RouteDecision,
  route,
  type Wiring,
  type WiringId,
} from '../src/index.ts';
import type { MessageFacts } from '../src/route.ts';
import { aChat, anAgent, aWiring, plainSettings } from './folder.ts';

const andy = agent('andy');
const bea = agent('bea');
const chat: MessagingGroup = { ...aChat, id: id<MessagingGroupId>('chat'), createdAt: 0 };
const owner: Person = { roles: [{ role: 'owner' }], memberOf: [] };
const stranger: Person = { roles: [], memberOf: [] };
const said: MessageFacts = { text: 'hello', threadId: null, mentioned: false, sender: owner, engaged: new Set() };

describe('engage modes', () => {
  it.each<[string, Partial<Wiring>, Partial<MessageFacts>, Partial<MessagingGroup>, boolean]>([
    ['a pattern that matches', { engage: { mode: 'pattern', pattern: 'ell' } }, {}, {}, true],
    ['a pattern that does not match', { engage: { mode: 'pattern', pattern: '^ell' } }, {}, {}, false],
    [
      'a pattern not matched by a mention',
      { engage: { mode: 'pattern', pattern: 'x' } },
      { mentioned: true },
      {},
      false,
    ],
    ['the pattern "." on an empty text', { engage: { mode: 'pattern', pattern: '.' } }, { text: '' }, {}, true],
    ['a mention', { engage: { mode: 'mention' } }, { mentioned: true }, {}, true],
    ['no mention', { engage: { mode: 'mention' } }, {}, {}, false],
    ['a direct message, which counts as one', { engage: { mode: 'mention' } }, {}, { kind: 'direct' }, true],
    ['no mention in an engaged thread', { engage: { mode: 'mention' } }, inEngagedThread('andy'), {}, false],
    ['sticky: a mention', { engage: { mode: 'mention-sticky' } }, { mentioned: true }, {}, true],
    ['sticky: a direct message', { engage: { mode: 'mention-sticky' } }, {}, { kind: 'direct' }, true],
    ['sticky: no mention', { engage: { mode: 'mention-sticky' } }, { threadId: '7' }, {}, false],
    ['sticky: an engaged thread', { engage: { mode: 'mention-sticky' } }, inEngagedThread('andy'), {}, true],
    ["sticky: another agent's thread", { engage: { mode: 'mention-sticky' } }, inEngagedThread('bea'), {}, false],
  ])('%s', (_, wiring, message, group, engages) => {
    const decisions = route(
      { ...said, ...message },
      { messagingGroup: { ...chat, ...group }, wirings: [wired(andy, wiring)] },
    );
    expect(decisions).toMatchObject([
      engages ? { type: 'engage', trigger: 1 } : { type: 'drop', reason: 'not-engaged' },
    ]);
  });
});

describe('session modes', () => {
  const ofChat = { scope: 'chat', agentGroupId: andy.id, messagingGroupId: chat.id };
  it.each<[SessionMode, string | null, object]>([
    ['shared', null, ofChat],
    ['shared', '7', ofChat],
    ['per-thread', null, ofChat],
    ['per-thread', '7', { ...ofChat, scope: 'thread', threadId: '7' }],
    ['agent-shared', null, { scope: 'agent', agentGroupId: andy.id }],
    ['agent-shared', '7', { scope: 'agent', agentGroupId: andy.id }],
  ])('%s in thread %s', (sessionMode, threadId, sessionKey) => {
    const message = { ...said, threadId, mentioned: true };
    const [decision] = route(message, { messagingGroup: chat, wirings: [wired(andy, { sessionMode })] });
    expect(decision).toMatchObject({ type: 'engage', sessionKey });
  });
});

describe('what does not engage', () => {
  it('is kept as context where the wiring says so, in the session it would have gone to', () => {
    const wirings = [wired(andy, { otherwise: 'accumulate', sessionMode: 'per-thread' })];
    expect(route({ ...said, threadId: '7' }, { messagingGroup: chat, wirings })).toMatchObject([
      { type: 'accumulate', trigger: 0, sessionKey: { scope: 'thread', threadId: '7' } },
    ]);
  });
});

describe('senders', () => {
  const cases: [string, Person, Partial<MessagingGroup>, Partial<Wiring>, boolean, Partial<RouteDecision>][] = [
    ['a stranger in a strict chat', stranger, {}, {}, true, { type: 'drop', reason: 'stranger' }],
    ['a stranger in a public chat', stranger, { strangers: 'public' }, {}, true, { type: 'engage' }],
    [
      'a stranger in a public chat at a wiring for known senders',
      stranger,
      { strangers: 'public' },
      { senderScope: 'known' },
      true,
      { type: 'drop', reason: 'stranger' },
    ],
    ['a stranger who needs approval', stranger, { strangers: 'request_approval' }, {}, true, { type: 'ask' }],
    [
      'a stranger who needs approval but did not speak to the agent',
      stranger,
      { strangers: 'request_approval' },
      { otherwise: 'accumulate' },
      false,
      { type: 'drop', reason: 'not-engaged' },
    ],
    [
      'a stranger in a strict chat whose context is kept',
      stranger,
      {},
      { otherwise: 'accumulate' },
      false,
      { type: 'drop', reason: 'stranger' },
    ],
    ['a member', { roles: [], memberOf: [andy.id] }, {}, { senderScope: 'known' }, true, { type: 'engage' }],
    [
      'a member of another agent',
      { roles: [], memberOf: [bea.id] },
      {},
      {},
      true,
      { type: 'drop', reason: 'stranger' },
    ],
    ['the owner in a denied chat', owner, { denied: true }, {}, true, { type: 'drop', reason: 'chat-denied' }],
  ];
  it.each(cases)('%s', (_, sender, group, wiring, mentioned, expected) => {
    const wirings = [wired(andy, wiring)];
    expect(route({ ...said, sender, mentioned }, { messagingGroup: { ...chat, ...group }, wirings })).toMatchObject([
      expected,
    ]);
  });
});

describe('several wirings', () => {
  it('are decided independently, in order, and a broken pattern stops only its own', () => {
    const broken = wired(andy, { engage: { mode: 'pattern', pattern: '(' } });
    const matching = wired(bea, { engage: { mode: 'pattern', pattern: 'hello' } });
    expect(route(said, { messagingGroup: chat, wirings: [broken, matching] })).toEqual([
      { ...broken, type: 'drop', reason: 'pattern-unusable' },
      {
        ...matching,
        type: 'engage',
        trigger: 1,
        sessionKey: { scope: 'chat', agentGroupId: bea.id, messagingGroupId: chat.id },
      },
    ]);
  });

  it('that are none yield no decision', () => {
    expect(route(said, { messagingGroup: chat, wirings: [] })).toEqual([]);
  });
});

function inEngagedThread(by: string): Partial<MessageFacts> {
  return { threadId: '7', engaged: new Set([id<WiringId>(`wiring-${by}`)]) };
}

function agent(name: string): AgentGroup {
  return { ...anAgent, ...plainSettings, folder: name, id: id<AgentGroupId>(name), createdAt: 0 };
}

function wired(agentGroup: AgentGroup, settings: Partial<Wiring>): WiredAgent {
  const wiringId = id<WiringId>(`wiring-${agentGroup.folder}`);
  const ends = { agentGroupId: agentGroup.id, messagingGroupId: chat.id };
  return { agentGroup, wiring: { reach: 'default', ...aWiring, ...ends, ...settings, id: wiringId, createdAt: 0 } };
}

function id<SomeId extends AgentGroupId | MessagingGroupId | WiringId>(text: string): SomeId {
  if (!isId<SomeId>(text)) throw new Error(`${text} is not an id`);
  return text;
}
