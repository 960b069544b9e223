/** The endpoints of the webhook channel, as they are created and removed while the host runs. */
import type { WebhookChannel, WebhookEndpoint } from '@nanoclaw/channels/webhook';
import type { Connections } from './connections.ts';

/**
 * Makes the channel serve exactly these endpoints, and connects it with the first one: without any, nothing listens.
 * Rejects with what the channel refuses.
 */
export async function serveEndpoints(
  channel: WebhookChannel,
  endpoints: readonly WebhookEndpoint[],
  before: readonly WebhookEndpoint[],
  connections: Connections,
): Promise<void> {
  for (const { name } of before) channel.removeEndpoint(name);
  for (const endpoint of endpoints) channel.addEndpoint(endpoint);
  if (endpoints.length > 0) await connections.add(channel);
}
