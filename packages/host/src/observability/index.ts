/** What can be seen of a running host: its log, its metrics, its health. */
export { Health, type Readiness } from './health.ts';
export { type Log, type Logger, openLog } from './log.ts';
export { type Counting, type Gauges, type LoopDelay, Metrics, type OpenFiles } from './metrics.ts';
