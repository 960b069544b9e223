// Opens a registry and, for each of a list of questions, approvals and instance names, tries to open, answer, decide or
// claim it; prints what came of each as JSON.

import type { ApprovalId, QuestionId, UserId } from '../../src/index.ts';
import { openRegistry } from '../../src/index.ts';
import type { NewQuestion } from '../../src/questions.ts';

interface Order {
  readonly file: string;
  readonly idPrefix: string;
  readonly by: UserId;
  readonly opens: readonly NewQuestion[];
  readonly answers: readonly QuestionId[];
  readonly decisions: readonly ApprovalId[];
  readonly channelType: string;
  readonly claims: readonly string[];
}

const order: Order = JSON.parse(process.argv[2] ?? '');
let made = 0;
await using registry = await openRegistry({
  file: order.file,
  now: () => 1_000,
  newId: () => `${order.idPrefix}-${(made += 1)}`,
});
const opened: (string | undefined)[] = [];
for (const question of order.opens) opened.push((await registry.questions.open(question, { openMax: 200 }))?.id);
const answered: string[] = [];
for (const id of order.answers) answered.push(await registry.questions.answer(id, { option: 0, by: order.by, at: 1 }));
const decided: string[] = [];
for (const id of order.decisions) {
  decided.push(await registry.approvals.decide(id, { type: 'approved', by: order.by, at: 1 }));
}
const claimed: string[] = [];
for (const name of order.claims) {
  const result = await registry.channels.claim(name, order.channelType, 1_000);
  claimed.push(typeof result === 'string' ? result : `taken by ${result.takenBy}`);
}
process.stdout.write(JSON.stringify({ opened, answered, decided, claimed }));
