/** The webhook channel: its module for hosts, the channel itself, and the signature for programs that talk to it. */
import { z } from 'zod';
import type { ChannelModule } from '../channel-module.ts';
import { endpointProblem, type WebhookEndpoint } from './endpoint.ts';
import { CALLBACK_MS_MAX, LOOPBACK, REQUEST_MS_MAX, WebhookChannel } from './webhook-channel.ts';

export { endpointProblem, type WebhookEndpoint } from './endpoint.ts';
export { signWebhook } from './signature.ts';
export { WebhookChannel } from './webhook-channel.ts';

/** The options of the webhook's module, checked: where it listens, and for whom. */
interface WebhookModuleOptions {
  readonly host: string;
  readonly port: number;
  readonly endpoints: readonly WebhookEndpoint[];
  readonly callbackMaxMs: number;
  readonly requestMaxMs: number;
}

/** One endpoint, as it stands in a configuration. */
const ENDPOINT = z
  .strictObject({
    name: z.string(),
    secret: z.string(),
    callback: z.strictObject({ url: z.string() }).exactOptional(),
  })
  .superRefine((endpoint, context) => {
    const problem = endpointProblem(endpoint);
    if (problem !== undefined) context.addIssue(`The webhook endpoint "${endpoint.name}" cannot be added: ${problem}.`);
  });

/**
 * The module of the webhook channel: programs talk to the bot over HTTP. Its options are those of `WebhookChannelOptions`
 * that can stand in a file; only `port` must be given.
 */
const webhook: ChannelModule<WebhookModuleOptions> = {
  type: 'webhook',
  options: z.strictObject({
    host: z.string().default(LOOPBACK),
    port: z.int().min(0).max(65_535),
    endpoints: z.array(ENDPOINT).default([]),
    callbackMaxMs: z.int().min(1).default(CALLBACK_MS_MAX),
    requestMaxMs: z.int().min(1).default(REQUEST_MS_MAX),
  }),
  create(options, { folder, clock, onTrouble }) {
    return new WebhookChannel({ ...options, folder, now: () => clock.now(), setTimer: clock.setTimer, onTrouble });
  },
};

export default webhook;
