// One POST to the callback of a webhook endpoint, and what its answer means for the message.

import type { SetTimer } from '@nanoclaw/session-db';
import type { SendResult } from '../channel.ts';

/** What the request needs from outside. */
export interface CallbackOptions {
  /** Epoch milliseconds. */
  now: () => number;
  setTimer: SetTimer;
  /** How long the whole request may take, in milliseconds. */
  maxMs: number;
  /** Ends the request when the channel stops. */
  signal: AbortSignal;
}

/** What a post came to; `sent` and the failures of `SendResult`. */
export type PostResult = { type: 'sent' } | Extract<SendResult, { type: 'failed' }>;

/**
 * Posts `body`. 2xx is sent; 408, 425, 429 and 5xx may be tried again, after what `Retry-After` says; everything else is
 * for good, redirects among it: they would take a signed message to a place that the operator has not configured. A request that
 * failed or took too long may have arrived, and is to be repeated with the same headers.
 */
export async function postCallback(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>>,
  { now, setTimer, maxMs, signal }: CallbackOptions,
): Promise<PostResult> {
  const late = new AbortController();
  const cancel = setTimer(maxMs, () => late.abort());
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers,
      redirect: 'manual',
      signal: AbortSignal.any([late.signal, signal]),
    });
    // Whatever it says besides: the answer of a stranger is not read, however long it is.
    await response.body?.cancel();
    return postResult(response.status, response.headers.get('retry-after'), now());
  } catch (error) {
    return { type: 'failed', permanent: false, reason: late.signal.aborted ? TOO_LATE : unreachable(error) };
  } finally {
    cancel();
  }
}

/** What an answer with this status means. */
export function postResult(status: number, retryAfter: string | null, now: number): PostResult {
  if (status >= 200 && status < 300) return { type: 'sent' };
  if (status >= 500 || RETRYABLE.has(status)) {
    const retryAfterMs = retryAfter === null ? undefined : waitMs(retryAfter, now);
    const failed = { type: 'failed', permanent: false, reason: `The callback answered ${status}.` } as const;
    return retryAfterMs === undefined ? failed : { ...failed, retryAfterMs };
  }
  const reason =
    status >= 300 && status < 400
      ? `The callback answered ${status}, and redirects are not followed. Configure the place it moved to.`
      : `The callback refused the message with ${status}.`;
  return { type: 'failed', permanent: true, reason };
}

const RETRYABLE: ReadonlySet<number> = new Set([408, 425, 429]);
const TOO_LATE = 'The callback did not answer in time; it may have the message.';
/** Longer is no wish but a mistake, and the host has its own patience. */
const RETRY_AFTER_MS_MAX = 60 * 60 * 1000;

/** `Retry-After` in milliseconds, from seconds or a date; `undefined` for neither. */
function waitMs(retryAfter: string, now: number): number | undefined {
  const ms = /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX) : undefined;
}

/** Without the address: it may hold a secret. */
function unreachable(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
  return `The callback could not be reached, or broke off${code}; it may have the message.`;
}
