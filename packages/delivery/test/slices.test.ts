// A long text is split some at a time: whatever it is made of, everything else has its turn in between.
import type { Address } from '@nanoclaw/session-db';
import { type TextUnit, textLength } from '@nanoclaw/session-db/text';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DELIVERY_POLICY, type DeliveryPorts, deliverSession, splitMessage } from '../src/index.ts';
import { MAIN, sentOk, TestSession, temporaryFolder, texts, world } from './support.ts';

let folder: ReturnType<typeof temporaryFolder>;
let session: TestSession;
beforeEach(() => {
  folder = temporaryFolder();
  session = new TestSession(folder.path);
});
afterEach(() => {
  session[Symbol.dispose]();
  folder[Symbol.dispose]();
});

/** How many characters were made into parts between two turns of everything else. */
class Meter {
  readonly slices = [0];

  readonly setTimer: DeliveryPorts['setTimer'] = (delayMs, action) => {
    if (delayMs > 0) return () => undefined;
    this.slices.push(0);
    queueMicrotask(action);
    return () => undefined;
  };

  route(unit: TextUnit, max: number, address: Address = MAIN): DeliveryPorts['route'] {
    return (_session, { content }) => ({
      type: 'deliver',
      address,
      account: 'fake',
      duplicates: 'key',
      parts: this.#parts(String(content['text']), unit, max),
    });
  }

  *#parts(text: string, unit: TextUnit, max: number) {
    const split = splitMessage({ text, files: [], buttons: [] }, { text: { max, unit } });
    if (split.type === 'impossible') return;
    for (const part of split.parts) {
      expect(textLength(part.text, unit)).toBeLessThanOrEqual(max);
      this.slices[this.slices.length - 1] = (this.slices.at(-1) ?? 0) + part.text.length;
      yield { text: part.text };
    }
  }
}

describe('a text of 780 000 characters', () => {
  it.each([
    ['words', 'utf16-units', 'some words and '],
    ['one word without an end', 'code-points', 'x'],
    ['characters of other scripts', 'utf8-bytes', '漢字'],
    ['code', 'utf8-bytes', '```js\nconst a = `1`;\n```\n'],
  ] as const)('is split a few parts at a time: %s, in %s', async (_, unit, piece) => {
    const [text, meter] = [
      piece.repeat((780_000 / piece.length / Buffer.byteLength(piece)) * piece.length),
      new Meter(),
    ];
    const w = world(sentOk, { route: meter.route(unit, 5_000), setTimer: meter.setTimer });
    session.say('before');
    session.say(text);
    session.say('after');
    for (let passes = 0; passes < 4; passes += 1) await deliverSession(session.port, w);
    expect(Math.max(...meter.slices)).toBeLessThan(40_000);
    expect(meter.slices.length).toBeGreaterThan(5);
    expect([texts(w.sent).at(0), texts(w.sent).at(-1)]).toEqual(['before', 'after']);
    const shown = texts(w.sent).slice(1, -1).join('');
    if (piece !== '```js\nconst a = `1`;\n```\n') expect(shown.replaceAll(/\s/g, '')).toBe(text.replaceAll(/\s/g, ''));
  });

  it('is given up with a word for the agent where it would take too many messages, and is not split to its end', async () => {
    const meter = new Meter();
    const policy = { ...DELIVERY_POLICY, partsMax: 20 };
    const w = world(sentOk, { route: meter.route('code-points', 1_000), setTimer: meter.setTimer, policy });
    session.say('x'.repeat(780_000));
    session.say('after');
    await deliverSession(session.port, w);
    expect(texts(w.sent)).toEqual(['after']);
    expect(w.notices[0]?.letters[0]?.error).toBe('The text would take more than 20 messages there; send it as a file.');
    expect(meter.slices.reduce((sum, one) => sum + one)).toBeLessThan(30_000);
  });

  it('is split once: an attempt that is made again asks for no parts', async () => {
    const meter = new Meter();
    const w = world(() => ({ type: 'offline' }), {
      route: meter.route('code-points', 5_000),
      setTimer: meter.setTimer,
    });
    session.say('x'.repeat(20_000));
    await deliverSession(session.port, w);
    w.clock.now += 86_400_000;
    await deliverSession(session.port, w);
    expect(w.sent.length).toBeGreaterThan(1);
    expect(meter.slices.reduce((sum, one) => sum + one)).toBe(20_000);
  });
});
