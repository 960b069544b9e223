/** What this process gives the agent: its clock, user, environment, signals and standard error. */
import type { AgentRun } from '@nanoclaw/runner';
import type { Clock } from '@nanoclaw/session-db';

/** The machine's clock and timers. */
export const clock: Clock = {
  now: () => Date.now(),
  setTimer: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** The user that this process, and what it starts, runs as; 0 where there are no users. */
export const uid: number = process.getuid?.() ?? 0;

/** The run of this process: the first SIGTERM or SIGINT asks it to leave, the second ends its grace. */
export function processRun(): AgentRun {
  const asked = new AbortController();
  const insisted = new AbortController();
  const onSignal = (): void => {
    if (asked.signal.aborted) insisted.abort();
    else asked.abort();
  };
  // As process 1 a program without a handler ignores both.
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return {
    signal: asked.signal,
    atOnce: insisted.signal,
    env: environment(),
    write: (text) => void process.stderr.write(text),
  };
}

function environment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  return env;
}
