/** `nanoclaw approvals`: what waits for a person's yes or no. Never for agents: it is they who are asked about. */
import { type Approval, isOpen } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, flag, type OperatorCommand, reads } from './command.ts';
import type { Changing, RegistryReader } from './contexts.ts';
import { oneOf } from './lookup.ts';
import { limit, Text } from './parameters.ts';
import { column } from './view.ts';

const approval = argument(Text, 'the approval: its id, or the beginning of it');

/** The approvals. */
export const approvalCommands: readonly OperatorCommand[] = [
  reads({
    path: ['approvals', 'list'],
    summary: 'list what waits for a yes or a no',
    parameters: z.object({ all: flag('those that are decided or expired, too'), limit: limit(100) }),
    agents: 'never',
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('KIND', 'kind'),
        column('ABOUT', 'summary'),
        column('ASKED BY', 'requestedBy'),
        column('UNTIL', 'expiresAt', 'time'),
        column('STATE', 'state'),
      ],
      empty: 'Nothing waits for an approval.',
    },
    run: async ({ registry, now }, { all, limit: most }) => {
      const at = now();
      const only = all ? {} : ({ state: 'open', now: at } as const);
      return (await registry.approvals.list({ ...only, limit: most })).map((each) => told(each, at));
    },
  }),
  reads({
    path: ['approvals', 'get'],
    summary: 'show one approval, with what would be done',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'record' },
    run: async ({ registry, now }, parameters) => told(await approvalNamed(registry, parameters.approval), now()),
  }),
  changes({
    path: ['approvals', 'approve'],
    summary: 'say yes: what was asked for is done',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'message' },
    run: (operator, parameters) => decide(operator, parameters.approval, 'approved'),
  }),
  changes({
    path: ['approvals', 'deny'],
    summary: 'say no',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'message' },
    run: (operator, parameters) => decide(operator, parameters.approval, 'denied'),
  }),
];

async function decide(operator: Changing, named: string, type: 'approved' | 'denied') {
  const { registry, now, actor, live } = operator;
  const { id, summary } = await approvalNamed(registry, named);
  const came = await registry.approvals.decide(id, { type, by: actor, at: now() });
  if (came !== 'decided') {
    const why = came === 'expired' ? 'It has expired' : 'Somebody has decided it already';
    throw new Problem(`${why}; nothing was changed. See \`nanoclaw approvals get ${id}\`.`, 7);
  }
  // What follows from it is written down with it, and done at the next start when no host runs now.
  await live?.applyApproval(id);
  const when = live === undefined ? ' What follows is done when the host starts.' : '';
  return { id, outcome: type, message: `${type === 'approved' ? 'Approved' : 'Denied'}: ${summary}.${when}` };
}

/** Among the open ones by the beginning of the id; among all by the whole of it. */
async function approvalNamed(registry: RegistryReader, text: string): Promise<Approval> {
  const listed = await registry.approvals.list({ limit: 1_000 });
  return oneOf(listed, text, 'approval', 'approvals list --all');
}

function told(of: Approval, now: Millis) {
  // One whose time is over is noted as expired some time after it.
  return { ...of, state: isOpen(of, now) ? 'open' : (of.outcome?.type ?? 'expired') };
}
