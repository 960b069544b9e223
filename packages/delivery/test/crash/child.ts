// Delivers a prepared session and dies by SIGKILL at the n-th step, or whenever it is killed.
import type { Duplicates } from '../../src/send.ts';
import { deliverAll } from './scenario.ts';

const order: { root: string; duplicates: Duplicates; diesAt: number | null } = JSON.parse(process.argv[2] ?? '');
let steps = 0;
process.stdout.write('ready\n');
await deliverAll(order.root, order.duplicates, () => {
  steps += 1;
  if (steps === order.diesAt) process.kill(process.pid, 'SIGKILL');
});
process.stdout.write(`done ${steps}\n`);
