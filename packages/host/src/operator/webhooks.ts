/** `nanoclaw webhooks`: the endpoints through which other programs write to agents. Never for agents: they hold secrets. */
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, type OperatorCommand, option, reads } from './command.ts';
import type { Changing } from './contexts.ts';
import { notFound } from './lookup.ts';
import { Text } from './parameters.ts';
import { column } from './view.ts';
import { EndpointName, readEndpoints, type WebhookEndpoint, writeEndpoints } from './webhook-endpoints.ts';

const name = argument(EndpointName, 'the name of the endpoint, as in /hooks/NAME');

/** The endpoints of the webhook channel. */
export const webhookCommands: readonly OperatorCommand[] = [
  reads({
    path: ['webhooks', 'list'],
    summary: 'list the endpoints, without their secrets',
    parameters: z.object({}),
    agents: 'never',
    view: {
      type: 'table',
      columns: [column('NAME', 'name'), column('PATH', 'path'), column('CALLBACK', 'callback')],
      empty: 'There are no endpoints. Make one with `nanoclaw webhooks create`.',
    },
    run: async ({ data }) => readEndpoints(data).map(told),
  }),
  changes({
    path: ['webhooks', 'create'],
    summary: 'make an endpoint; its secret is shown this once',
    parameters: z.object({
      name,
      callback: option(
        z.url({ protocol: /^https?$/, error: 'it is no http or https address' }).exactOptional(),
        'where answers are sent; left out: they are kept to be fetched',
        {
          value: 'url',
        },
      ),
    }),
    agents: 'never',
    view: { type: 'record' },
    run: async (operator, { name: given, callback }) => {
      const before = readEndpoints(operator.data);
      if (before.some((each) => each.name === given)) {
        throw new Problem(`There is an endpoint ${given} already; nothing was changed. Delete it first.`, 7);
      }
      const secret = operator.newSecret();
      const endpoint = { name: given, secret, ...(callback !== undefined && { callback: { url: callback } }) };
      await replace(operator, [...before, endpoint]);
      return { ...told(endpoint), secret };
    },
  }),
  changes({
    path: ['webhooks', 'delete'],
    summary: 'close an endpoint',
    parameters: z.object({ name: argument(Text, 'the name of the endpoint') }),
    agents: 'never',
    view: { type: 'message' },
    run: async (operator, { name: given }) => {
      const before = readEndpoints(operator.data);
      const after = before.filter((each) => each.name !== given);
      if (after.length === before.length) throw notFound('endpoint', given, 'webhooks list');
      await replace(operator, after);
      return { name: given, message: `The endpoint ${given} was closed. Its chat and sessions stay.` };
    },
  }),
];

async function replace({ data, live }: Changing, endpoints: readonly WebhookEndpoint[]): Promise<void> {
  writeEndpoints(data, endpoints);
  await live?.reloadWebhooks(endpoints);
}

function told({ name: given, callback }: WebhookEndpoint) {
  return { name: given, path: `/hooks/${given}`, callback: callback?.url ?? null };
}
