/**
 * `npm run bench [-- --only NAME] [--rounds N] [--json FILE] [--trace]`: what the composed product costs, side by side in one run with what
 * the disk can do, with two files and nothing around them, and with the durable systems that a user would take instead.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PRODUCT_TERMINAL, PRODUCT_WEBHOOK } from './contestants/daemon.ts';
import { APPEND, INSERT } from './contestants/limit.ts';
import { BULLMQ, GRAPHILE_WORKER, PG_BOSS, PLAINJOB } from './contestants/peers.ts';
import { PRODUCT_IN_MEMORY } from './contestants/product.ts';
import { PROTOTYPE } from './contestants/prototype.ts';
import { type Measure, measured } from './measure.ts';
import { idleTable } from './measures/idle.ts';
import { latency } from './measures/latency.ts';
import { throughput } from './measures/throughput.ts';
import { table } from './table.ts';
import { trace } from './trace/trace.ts';

const LIMITS = [APPEND, INSERT];
const PRODUCT = [PRODUCT_IN_MEMORY, PRODUCT_TERMINAL, PRODUCT_WEBHOOK];
const PEERS = [PLAINJOB, BULLMQ, GRAPHILE_WORKER, PG_BOSS];

const MEASURES = [
  {
    measure: {
      name: 'latency',
      title: 'One message at a time, in milliseconds',
      sessions: 1,
      columns: ['p50', 'p99'],
      round: latency,
    },
    contestants: [...LIMITS, PROTOTYPE, ...PRODUCT, ...PEERS],
  },
  {
    measure: {
      name: 'one-session',
      title: 'One session, 64 messages under way: messages a second',
      sessions: 1,
      columns: ['perSecond', 'p99'],
      round: (opened) => throughput(opened, { sessions: 1, inFlight: 64 }),
    },
    contestants: [PROTOTYPE, ...PRODUCT, ...PEERS],
  },
  {
    measure: {
      name: 'many-sessions',
      title: '100 sessions, 256 messages under way: messages a second',
      sessions: 100,
      columns: ['perSecond', 'p99'],
      round: (opened) => throughput(opened, { sessions: 100, inFlight: 256 }),
    },
    contestants: [PROTOTYPE, PRODUCT_IN_MEMORY, ...PEERS],
  },
] satisfies readonly { readonly measure: Measure; readonly contestants: readonly unknown[] }[];

const IDLE_SESSIONS = [0, 1_000, 10_000];

const { values } = parseArgs({
  options: {
    trace: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '6' },
    json: { type: 'string' },
  },
});
const root = mkdtempSync(join(tmpdir(), 'nanoclaw-bench-'));
const onProgress = (sentence: string) => void process.stderr.write(`${sentence}\n`);
const results: Record<string, unknown> = {};
try {
  if (values.trace) await trace(root);
  else await takeAll();
} finally {
  rmSync(root, { recursive: true, force: true });
}

async function takeAll(): Promise<void> {
  for (const { measure, contestants } of MEASURES) {
    if (!measure.name.includes(values.only)) continue;
    const taken = await measured(measure, contestants, { root, rounds: Number(values.rounds), onProgress });
    process.stdout.write(table(measure, taken, PROTOTYPE.name));
    results[measure.name] = taken;
  }
  if ('idle'.includes(values.only)) results['idle'] = await idleTable(root, IDLE_SESSIONS, onProgress);
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2));
}
