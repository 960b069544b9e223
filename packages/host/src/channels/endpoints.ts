/** The endpoints of the webhook channel, as they are created and removed while the host runs. */
import type { WebhookChannel, WebhookEndpoint } from '@nanoclaw/channels/webhook';
import type { Connections } from './connections.ts';

/** The instance name of the channel behind `nanoclaw webhooks`. */
export const WEBHOOKS = 'webhook';

/** The webhook channel of a host, which is connected with its first endpoint: without any, nothing listens. */
export class WebhookEndpoints {
  readonly #channel: WebhookChannel;
  readonly #connections: Connections;
  #served: readonly WebhookEndpoint[] = [];
  #isConnected = false;

  constructor(channel: WebhookChannel, connections: Connections) {
    this.#channel = channel;
    this.#connections = connections;
  }

  /** Makes the channel serve exactly these endpoints. Rejects with what the channel refuses, and serves those of before then. */
  async serve(endpoints: readonly WebhookEndpoint[]): Promise<void> {
    const before = this.#served;
    try {
      this.#replace(endpoints);
      if (endpoints.length === 0 || this.#isConnected) return;
      await this.#connections.add(WEBHOOKS, this.#channel);
      this.#isConnected = true;
    } catch (error) {
      this.#replace(before);
      throw error;
    }
  }

  #replace(endpoints: readonly WebhookEndpoint[]): void {
    for (const { name } of this.#served) this.#channel.removeEndpoint(name);
    this.#served = endpoints;
    for (const endpoint of endpoints) this.#channel.addEndpoint(endpoint);
  }
}
