/** `nanoclaw webhooks`: the endpoints through which other programs write to agents. Never for agents: they hold secrets. */
import { z } from 'zod';
import { WEBHOOKS } from '../channels/index.ts';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import type { WriteContext } from './contexts.ts';
import { notFound } from './lookup.ts';
import { Text } from './parameters.ts';
import { column } from './view.ts';
import {
  checkEndpoint,
  EndpointName,
  readEndpoints,
  type WebhookEndpoint,
  writeEndpoints,
} from './webhook-endpoints.ts';

const name = argument(EndpointName, 'the name of the endpoint, as in /hooks/NAME');

/** The commands about the endpoints of the webhook channel. */
export const webhookCommands: readonly OperatorCommand[] = [
  reads({
    path: ['webhooks', 'list'],
    summary: 'list the endpoints, without their secrets',
    parameters: z.object({}),
    agents: 'never',
    view: {
      type: 'table',
      columns: [column('NAME', 'name'), column('PATH', 'path'), column('CALLBACK', 'callback')],
      empty: 'There are no endpoints. Create one with `nanoclaw webhooks create`.',
    },
    run: async ({ data }) => readEndpoints(data).map(toView),
  }),
  changes({
    path: ['webhooks', 'create'],
    summary: 'create an endpoint; its secret is shown only once',
    parameters: z.object({
      name,
      callback: option(
        Text.exactOptional(),
        'the URL to which answers are posted; left out: they are kept to be fetched',
        {
          value: 'url',
        },
      ),
    }),
    agents: 'never',
    view: { type: 'record' },
    run: async (context, { name: given, callback }) => {
      const before = readEndpoints(context.data);
      if (before.some((each) => each.name === given)) {
        throw new Problem(`There is an endpoint ${given} already; nothing was changed. Delete it first.`, 7);
      }
      const secret = context.newSecret();
      const endpoint = { name: given, secret, ...(callback !== undefined && { callback: { url: callback } }) };
      checkEndpoint(endpoint);
      await replace(context, before, [...before, endpoint]);
      const channel = context.live?.status().channels.find(({ instance }) => instance === WEBHOOKS);
      // It is connected as soon as it can be; until then a caller finds nothing at the address.
      const trouble =
        channel === undefined || channel.state === 'online' ? null : `${channel.state}: ${channel.reason}`;
      return { ...toView(endpoint), secret, ...(trouble !== null && { channel: trouble }) };
    },
  }),
  changes({
    path: ['webhooks', 'delete'],
    summary: 'delete an endpoint',
    parameters: z.object({ name: argument(Text, 'the name of the endpoint') }),
    agents: 'never',
    view: { type: 'message' },
    run: async (context, { name: given }) => {
      const before = readEndpoints(context.data);
      const after = before.filter((each) => each.name !== given);
      if (after.length === before.length) throw notFound('endpoint', given, 'webhooks list');
      await replace(context, before, after);
      return { name: given, message: `The endpoint ${given} was deleted. Its chat and sessions stay.` };
    },
  }),
];

async function replace(
  { data, live }: WriteContext,
  before: readonly WebhookEndpoint[],
  after: readonly WebhookEndpoint[],
): Promise<void> {
  writeEndpoints(data, after);
  try {
    await live?.reloadWebhooks(after);
  } catch (error) {
    // What this host refuses must not keep the next one from its start.
    writeEndpoints(data, before);
    throw error;
  }
}

function toView({ name: given, callback }: WebhookEndpoint) {
  return { name: given, path: `/hooks/${given}`, callback: callback?.url ?? null };
}
