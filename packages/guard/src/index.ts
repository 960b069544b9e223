/** Reads what a container wrote in a process of its own, which a file that holds it costs and nothing else. */
export { GUARD_POLICY, Guard, type GuardOptions, type GuardPolicy, type GuardTrouble } from './guard.ts';
export type { GuardReport } from './report.ts';
