/**
 * A channel under the name that the operator gave it. Two channels of one type may run side by side, so the host knows each
 * by its instance name: addresses, users, chats, commands and metrics have that name where a channel says its type. A
 * channel itself knows nothing of it. Here, at the border, and nowhere else, one becomes the other.
 */
import type { Address, Channel, Health } from '@nanoclaw/channels';
import { messageOf, type UncaughtErrors } from '../errors/index.ts';

/**
 * The channel as the host sees it: its `type` is the instance name. Whatever type the channel's own events claim, they come
 * from this instance, so that no channel can speak in another's name. One that throws where it must not is offline, and an error
 * that it was told of and left alone is its own.
 */
export function asInstance(channel: Channel, instance: string, uncaught: Pick<UncaughtErrors, 'onBehalfOf'>): Channel {
  const origin = channelOrigin(instance);
  const inside = (address: Address): Address => ({ ...address, channelType: channel.type });
  const outside = (address: Address): Address => ({ ...address, channelType: instance });
  const { typing } = channel;
  return {
    type: instance,
    duplicates: channel.duplicates,
    // A channel may learn both while it runs.
    get limits() {
      return channel.limits;
    },
    get shows() {
      return channel.shows;
    },
    start: (receive) =>
      channel.start((event) =>
        uncaught.onBehalfOf(origin, async () => receive({ ...event, address: outside(event.address) })),
      ),
    send: (address, message, attempt) => channel.send(inside(address), message, attempt),
    stop: () => channel.stop(),
    health: () => healthOf(channel),
    ...(typing === undefined ? {} : { typing: (address: Address) => typing.call(channel, inside(address)) }),
    directAddress: async (handle) => {
      const address = await channel.directAddress(handle);
      return address && outside(address);
    },
  };
}

/** Whose errors those of a channel are: what `UncaughtErrors` calls it. */
export function channelOrigin(instance: string): string {
  return `channel "${instance}"`;
}

function healthOf(channel: Channel): Health {
  try {
    return channel.health();
  } catch (error) {
    return { state: 'offline', reason: `It does not say how it is: ${messageOf(error)}` };
  }
}
