/**
 * A channel under the name that the operator gave it. Two channels of one type may run side by side, so the host knows each
 * by its instance name: addresses, users, chats, commands and metrics have that name where a channel says its type. A
 * channel itself knows nothing of it. Here, at the border, and nowhere else, one becomes the other.
 */
import type { Address, Channel } from '@nanoclaw/channels';

/**
 * The channel as the host sees it: its `type` is the instance name. Whatever type the channel's own events claim, they come
 * from this instance, so that no channel can speak in another's name.
 */
export function asInstance(channel: Channel, instance: string): Channel {
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
    start: (receive) => channel.start((event) => receive({ ...event, address: outside(event.address) })),
    send: (address, message, attempt) => channel.send(inside(address), message, attempt),
    stop: () => channel.stop(),
    health: () => channel.health(),
    ...(typing === undefined ? {} : { typing: (address: Address) => typing.call(channel, inside(address)) }),
    directAddress: async (handle) => {
      const address = await channel.directAddress(handle);
      return address && outside(address);
    },
  };
}
