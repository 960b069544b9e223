/** Channels that the configuration names: loaded, made, and connected with the others. */
import { mkdirSync } from 'node:fs';
import type { Channel, ChannelPorts } from '@nanoclaw/channels';
import type { Clock } from '@nanoclaw/session-db';
import { type Connections, channelOrigin } from '../channels/index.ts';
import type { DataFolder } from '../data/index.ts';
import { messageOf } from '../errors/index.ts';
import { type ChannelReference, type LoadOptions, loadModule, type ModuleReference } from '../modules/index.ts';
import type { Logger } from '../observability/index.ts';

/** What loading a channel takes. */
export interface LoadChannelOptions {
  readonly data: Pick<DataFolder, 'channel'>;
  readonly load: LoadOptions;
  readonly clock: Clock;
  readonly log: Pick<Logger, 'warn'>;
}

/** Makes the channel of a reference, for an instance of that name. Rejects with a `ModuleError`, or the file system's error. */
export async function loadChannel(
  instance: string,
  reference: ModuleReference,
  { data, load, clock, log }: LoadChannelOptions,
): Promise<Channel> {
  const module = await loadModule(channelOrigin(instance), reference, load);
  const folder = data.channel(instance);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const ports: ChannelPorts = {
    instance,
    folder,
    clock,
    onTrouble: (trouble) => log.warn({ channel: instance, trouble }, 'a channel reports'),
  };
  return module.create({ kind: 'channel', is: isChannel }, ports);
}

/** Adds the channel to the connections: connected, or as one that is broken, with the reason. Never rejects. */
export async function addChannel(
  instance: string,
  reference: ChannelReference,
  connections: Connections,
  options: LoadChannelOptions,
): Promise<void> {
  let channel: Channel;
  try {
    channel = await loadChannel(instance, reference, options);
  } catch (error) {
    const reason = messageOf(error);
    options.log.warn({ channel: instance, reason }, 'a channel cannot be used');
    connections.addBroken(instance, reason);
    return;
  }
  await connections.add(instance, channel, reference.newChats);
}

/** Whether a value has what a channel must have. */
export function isChannel(value: unknown): value is Channel {
  if (typeof value !== 'object' || value === null) return false;
  const of = (name: string): unknown => Reflect.get(value, name);
  const [type, limits] = [of('type'), of('limits')];
  const methods = ['start', 'send', 'stop', 'health', 'directAddress'];
  return (
    typeof type === 'string' &&
    type !== '' &&
    ['key', 'history', 'none'].includes(String(of('duplicates'))) &&
    typeof limits === 'object' &&
    limits !== null &&
    of('shows') instanceof Set &&
    methods.every((name) => typeof of(name) === 'function')
  );
}
