/** The log of a host, for its program. */
export { type Log, openLog } from './observability/index.ts';
