import { MemoryPlatform } from '@nanoclaw/channels';
import type { OutboundMessage, Routing } from '@nanoclaw/session-db';
import { describe, expect, it } from 'vitest';
import { routeOf } from '../src/outbound.js';

const HERE = { channelType: 'memory', platformId: 'room', threadId: null };
const ROUTING: Routing = {
  destinations: [{ type: 'channel', name: 'room', displayName: 'Room', channelType: 'memory', platformId: 'room' }],
  replyTo: HERE,
};
const channel = new MemoryPlatform({ limits: { text: { max: 10, unit: 'code-points' } } }).channel();
const CHANNELS = new Map([['memory', channel]]);

function message(changes: Partial<OutboundMessage>): OutboundMessage {
  return {
    id: 'run/1',
    seq: 1,
    runId: 'run',
    kind: 'chat',
    timestamp: 0,
    deliverAfter: null,
    address: null,
    inReplyTo: null,
    content: { text: 'hello' },
    ...changes,
  };
}

describe('where an outbound message goes', () => {
  it('goes to the reply address of its session when it names none', () => {
    expect(routeOf(message({}), ROUTING, CHANNELS)).toMatchObject({
      type: 'deliver',
      lane: '["memory","room",null]',
      account: 'memory',
      parts: [{ text: 'hello' }],
    });
  });

  it('is refused to a place that the host has not given to this agent, whatever the row claims (failure 49)', () => {
    const elsewhere = message({ address: { channelType: 'memory', platformId: 'secret', threadId: null } });
    expect(routeOf(elsewhere, ROUTING, CHANNELS)).toEqual({
      type: 'refused',
      reason: 'This agent may not write to memory secret.',
    });
  });

  it.each([
    ['no place at all', message({}), { destinations: [], replyTo: null }, 'names no place'],
    ['a channel that this host has not', message({}), ROUTING, 'There is no channel "memory"'],
    ['nothing to show', message({ content: { text: 7 } }), ROUTING, 'nothing that can be shown'],
    [
      'an operation that nobody knows',
      message({ content: { operation: 'dance' } }),
      ROUTING,
      'nothing that can be shown',
    ],
  ])('is refused for %s', (name, row, routing, reason) => {
    const channels = name.includes('this host has not') ? new Map() : CHANNELS;
    expect(routeOf(row, routing, channels)).toMatchObject({ type: 'refused', reason: expect.stringContaining(reason) });
  });

  it('is split by the limits of its channel and never cut (failure 41)', () => {
    const route = routeOf(message({ content: { text: 'one two three four five' } }), ROUTING, CHANNELS);
    const parts = route.type === 'deliver' ? (route.parts ?? []) : [];
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.map((part) => part['text']).join(' ')).toBe('one two three four five');
  });

  it('is the host for a request, in a lane of its own', () => {
    expect(routeOf(message({ kind: 'system', content: { action: 'x' } }), ROUTING, CHANNELS)).toMatchObject({
      type: 'deliver',
      lane: 'host',
    });
  });
});
