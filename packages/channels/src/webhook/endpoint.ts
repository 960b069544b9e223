// What a webhook endpoint is, and what can be wrong with one.
import { isName } from '@nanoclaw/session-db/text';

/** A program that talks to the bot. */
export interface WebhookEndpoint {
  /** 1 to 64 letters, digits, dots, dashes, underscores: its address is `/hooks/<name>`, and its `platformId` the name. */
  name: string;
  /** What both sides sign with; at least 16 characters of chance. */
  secret: string;
  /** Where messages of the bot are posted, an HTTP address. Without it they are kept for the program to fetch. */
  callback?: {
    /** The whole address, `http:` or `https:`. */
    url: string;
  };
}

/** Of characters; as much chance as cannot be guessed, in any alphabet. */
const SECRET_MIN = 16;

/** Why there can be no such endpoint, as the end of a sentence; `undefined` when there can. */
export function endpointProblem({ name, secret, callback }: WebhookEndpoint): string | undefined {
  if (!isName('endpoint', name)) return 'a name has 1 to 64 letters, digits, dots, dashes or underscores';
  if (secret.length < SECRET_MIN) return `its secret has fewer than ${SECRET_MIN} characters`;
  if (callback === undefined) return undefined;
  const url = URL.parse(callback.url);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return 'its callback is no HTTP address';
  return url.username === '' && url.password === '' ? undefined : 'its callback has a name or password in the address';
}
