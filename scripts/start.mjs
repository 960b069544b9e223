/** `npm start -- WORDS` and `./nanoclaw WORDS`: installs and builds what is needed, then is `nanoclaw`. See bootstrap.mjs. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { endSignals, exitCode, prepare, root, run } from './bootstrap.mjs';
import { claudeBinary } from './claude-binary.mjs';

await run(async () => {
  const { node, env } = await prepare(['@nanoclaw/host-app', '@nanoclaw/agent-runner']);
  // 170 MB that only somebody who talks to a real model (or to a stand-in for one) has a use for.
  if (env['ANTHROPIC_API_KEY'] || env['ANTHROPIC_BASE_URL']) {
    env['NANOCLAW_CLAUDE_BINARY'] ??= await claudeBinary(env);
  }
  return nanoclaw(node, env, process.argv.slice(2));
});

/** Runs `nanoclaw` on this terminal until it exits, and returns its exit code; without a command it is `start`. */
function nanoclaw(node, env, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, [join(root, 'apps', 'host', 'dist', 'main.js'), ...args], {
      env,
      stdio: 'inherit',
    });
    for (const signal of endSignals) {
      process.on(signal, () => {
        // A terminal has given Ctrl-C to the host as well; a second one would mean "at once" to it.
        if (signal !== 'SIGINT' || process.stdin.isTTY !== true) child.kill(signal);
      });
    }
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(exitCode(code, signal)));
  });
}
