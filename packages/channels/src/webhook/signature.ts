// How requests between the webhook channel and a program are signed, in both directions. Both sides know a
// secret; without it a request can neither be made nor changed, and a recorded one is good for a few minutes only, in
// which it is the same message again.
import { createHmac, timingSafeEqual } from 'node:crypto';

export const TIMESTAMP_HEADER = 'x-nanoclaw-timestamp';
export const SIGNATURE_HEADER = 'x-nanoclaw-signature';

/** How far the clock of the other side may be off, and how long a recorded request is good for. In seconds. */
export const TIMESTAMP_TOLERANCE_S = 300;

/**
 * The value of the header `x-nanoclaw-signature`: `v1=` and, in lower-case hexadecimal, HMAC-SHA256 with the secret over
 * `<timestamp>.<body>`. `timestamp` is in Unix seconds, the value of the header `x-nanoclaw-timestamp`. A GET has no body;
 * in its place its method and target are signed, exactly as sent: `GET /hooks/name/messages?after=7`.
 */
export function signWebhook(secret: string, timestamp: number, body: string | Uint8Array): string {
  return `v1=${createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex')}`;
}

/** Whether `signature` is right, found out in a time that does not depend on where it is wrong. */
export function isRightSignature(
  secret: string,
  timestamp: number,
  body: string | Uint8Array,
  signature: string,
): boolean {
  const right = Buffer.from(signWebhook(secret, timestamp, body));
  const given = Buffer.from(signature);
  return right.length === given.length && timingSafeEqual(right, given);
}
