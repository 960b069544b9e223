/** An honest program at the webhook channel: signs what it sends, and waits for the answer of its agent. */
import { signWebhook } from '@nanoclaw/channels/webhook';
import type { Honest } from './trial.ts';

/** A program that knows the secret of the endpoint `honest`. */
export class HonestProgram implements Honest {
  readonly #secret: string;
  readonly #base: string;
  #ids = 0;
  #after = 0;

  constructor(port: number, secret: string) {
    this.#base = `http://127.0.0.1:${port}`;
    this.#secret = secret;
  }

  async asks(words: string, limitMs: number): Promise<number> {
    const begun = performance.now();
    const late = AbortSignal.timeout(limitMs);
    const body = JSON.stringify({ id: `honest-${++this.#ids}`, text: `say ${words}` });
    await this.#answer('POST', '/hooks/honest', body, late);
    for (;;) {
      const target = `/hooks/honest/messages?after=${this.#after}&wait=10`;
      const { messages } = await this.#answer('GET', target, `GET ${target}`, late);
      this.#after = messages.at(-1)?.n ?? this.#after;
      if (messages.some(({ text = '' }) => text.includes(words))) return performance.now() - begun;
    }
  }

  async #answer(method: 'GET' | 'POST', target: string, signed: string, signal: AbortSignal): Promise<Answer> {
    for (;;) {
      const seconds = Math.floor(Date.now() / 1_000);
      const response = await fetch(`${this.#base}${target}`, {
        method,
        signal,
        headers: {
          'x-nanoclaw-timestamp': String(seconds),
          'x-nanoclaw-signature': signWebhook(this.#secret, seconds, signed),
        },
        ...(method === 'POST' && { body: signed }),
      }).catch((error: unknown) => {
        // A connection that was not taken is tried again, as every program does; a time that is over is over.
        if (signal.aborted) throw error;
      });
      if (response?.ok) return JSON.parse(await response.text());
    }
  }
}

interface Answer {
  readonly messages: readonly { readonly n: number; readonly text?: string }[];
}
