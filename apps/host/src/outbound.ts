/**
 * Hop 8: where an outbound message goes, and one attempt to send it. The row is a request; what this agent may do is what
 * the host has written into the session's own routing.
 */
import type { Channel } from '@nanoclaw/channels';
import { type Attempt, type Route, splitMessage } from '@nanoclaw/delivery';
import { type Address, addressKey, type OutboundMessage, type Routing, type SendResult } from '@nanoclaw/session-db';
import { platformIdOf } from './inbound.js';
import { asText } from './presentation.js';

export type Channels = ReadonlyMap<string, Channel>;

/** The lane and account of what an agent asks of its host. */
const HOST = 'host';

/**
 * Decides where a message goes: to the host itself, or to a chat among this agent's destinations, by default the one its
 * session answers to. Long texts are split by the channel's limits.
 */
export function routeOf(message: OutboundMessage, routing: Routing, channels: Channels): Route {
  if (message.kind === 'system') return { type: 'deliver', lane: HOST, account: HOST, duplicates: 'key' };
  const address = message.address ?? routing.replyTo;
  if (address === null) return refused('The message names no place and its session has none.');
  if (!mayWriteTo(address, routing)) {
    return refused(`This agent may not write to ${address.channelType} ${address.platformId}.`);
  }
  const channel = channels.get(address.channelType);
  if (channel === undefined) return refused(`There is no channel "${address.channelType}".`);
  const text = asText(message.content);
  if (text === undefined) return refused('The message has nothing that can be shown.');
  const split = splitMessage({ text, files: [], buttons: [] }, channel.limits);
  if (split.type === 'impossible') return refused(split.reason);
  return {
    type: 'deliver',
    lane: addressKey(address),
    account: channel.type,
    duplicates: channel.duplicates,
    parts: split.parts.map((part) => ({ text: part.text })),
  };
}

/** Makes one attempt to show a message, or one part of it, that `routeOf` lets through to a channel. */
export async function send(
  message: OutboundMessage,
  attempt: Attempt,
  routing: Routing,
  channels: Channels,
): Promise<SendResult> {
  const address = message.address ?? routing.replyTo;
  const channel = address === null ? undefined : channels.get(address.channelType);
  if (address === null || channel === undefined) return { type: 'offline' };
  const inReplyTo = message.inReplyTo === null ? undefined : platformIdOf(address, message.inReplyTo);
  const { key, attempt: number, uncertain } = attempt;
  return channel.send(
    address,
    { kind: 'text', text: asText(message.content) ?? '', ...(inReplyTo === undefined ? {} : { inReplyTo }) },
    { key, attempt: number, uncertain },
  );
}

function mayWriteTo(address: Address, { destinations }: Routing): boolean {
  return destinations.some(
    (one) => one.type === 'channel' && one.channelType === address.channelType && one.platformId === address.platformId,
  );
}

function refused(reason: string): Route {
  return { type: 'refused', reason };
}
