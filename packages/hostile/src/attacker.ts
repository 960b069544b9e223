/**
 * A provider that attacks its host: what it is told as `attack NAME` it does in a process beside it, once. It runs in a true
 * runner, as any provider that a configuration names, so everything around the attack is as it is for an honest agent.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Provider, ProviderModule, TurnEvent } from '@nanoclaw/runner';
import { inboundFolder, outboundFolder } from '@nanoclaw/session-db';
import { z } from 'zod';
import type { Place } from './attack.ts';

const OPTIONS = z.strictObject({ victim: z.string(), hostFile: z.string(), liveMs: z.number() });
type Options = z.infer<typeof OPTIONS>;

const STRIKE = fileURLToPath(new URL('./strike.ts', import.meta.url));

function attacker(options: Options): Provider {
  async function* answered(text: string): AsyncGenerator<TurnEvent> {
    const [, name] = /attack (.*)$/.exec(text) ?? [];
    const said = name === undefined ? `You said: ${text}` : await struck(name, options);
    yield { type: 'result', text: said, usage: NO_USAGE };
  }
  return {
    name: 'attacker',
    start: ({ messages }) => {
      const text = messages.map(({ content }) => String(content['text'] ?? '')).join('\n');
      return { events: answered(text), push: () => false, abort: () => undefined };
    },
  };
}

/** Strikes, and says so at once where the attack goes on; once, however often it is asked. */
async function struck(name: string, { victim, hostFile, liveMs }: Options): Promise<string> {
  const path = { type: 'string', default: '' } as const;
  const { values } = parseArgs({ strict: false, options: { inbound: path, outbound: path, agent: path } });
  const [inbound, outbound, agent] = [values.inbound, values.outbound, values.agent].map(String);
  const session = basename(dirname(outbound ?? ''));
  const done = join(agent ?? '', `done-${session}-${Buffer.from(name).toString('hex').slice(0, 120)}`);
  if (existsSync(done)) return 'done before';
  writeFileSync(done, '');
  const place: Place = {
    inbound: inboundFolder(inbound ?? ''),
    outbound: outboundFolder(outbound ?? ''),
    agent: agent ?? '',
    victim,
    hostFile,
    until: Date.now() + liveMs,
  };
  const strike = spawn(process.execPath, [STRIKE, name, JSON.stringify(place)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  // An attack that is over at once should be over before the runner writes its answer; one that goes on should not.
  await Promise.race([once(strike, 'exit'), new Promise((resolve) => setTimeout(resolve, 1_000))]);
  return 'done';
}

const NO_USAGE = { inputTokens: null, outputTokens: null, cacheReadTokens: null, costUsd: null };

export default { options: OPTIONS, create: attacker } satisfies ProviderModule<Options>;
