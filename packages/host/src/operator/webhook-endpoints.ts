/**
 * The endpoints of the webhook channel: `webhooks.json` in the data folder, for its owner only, because a signature needs
 * the secret itself.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { endpointProblem } from '@nanoclaw/channels/webhook';
import { replaceFile } from '@nanoclaw/session-db';
import { z } from 'zod';
import type { DataFolder } from '../data/index.ts';
import { messageOf, Problem, parseJson, systemCode } from '../errors/index.ts';

const Endpoint = z
  .object({
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'a name has 1 to 64 letters a–z, digits or "-"'),
    secret: z.string(),
    callback: z.object({ url: z.string() }).exactOptional(),
  })
  .superRefine((endpoint, context) => {
    const problem = endpointProblem(endpoint);
    if (problem !== undefined) context.addIssue(problem);
  });

/** One endpoint: its caller signs with its secret; with a callback, answers are posted there. */
export type WebhookEndpoint = z.output<typeof Endpoint>;

/** The schema of an endpoint's name. */
export const EndpointName = Endpoint.shape.name;

/** Throws a `Problem` (exit code 2) for an endpoint that the channel would refuse. */
export function checkEndpoint(endpoint: WebhookEndpoint): void {
  const problem = endpointProblem(endpoint);
  if (problem === undefined) return;
  throw new Problem(`The endpoint ${endpoint.name} cannot be created: ${problem}. Nothing was changed.`, 2);
}

/** Reads the endpoints; none when there is no file yet. Throws a `Problem` (exit code 2) when the file is malformed. */
export function readEndpoints(data: DataFolder): readonly WebhookEndpoint[] {
  const file = fileOf(data);
  try {
    return z.array(Endpoint).parse(parseJson(readFileSync(file, 'utf8')));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw new Problem(
      `${file} is not a list of endpoints (${mistakeText(error)}); it was left as it is. Correct it, or ` +
        'remove it and create the endpoints again.',
      2,
      { cause: error },
    );
  }
}

/** Writes the endpoints into the file, all or none of them. Throws the file system's error. */
export function writeEndpoints(data: DataFolder, endpoints: readonly WebhookEndpoint[]): void {
  replaceFile(fileOf(data), `${JSON.stringify(endpoints, null, 2)}\n`, 0o600);
}

function mistakeText(error: unknown): string {
  const [issue] = error instanceof z.ZodError ? error.issues : [];
  if (issue !== undefined) return `${issue.path.join('.')}: ${issue.message}`;
  return error instanceof SyntaxError ? `it is not valid JSON: ${error.message}` : messageOf(error);
}

function fileOf(data: DataFolder): string {
  return join(data.root, 'webhooks.json');
}
