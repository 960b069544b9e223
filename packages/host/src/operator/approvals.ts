/** `nanoclaw approvals`: requests that wait for an admin's decision. Never for agents: the requests are theirs. */
import { type Approval, isOpen } from '@nanoclaw/registry';
import type { Millis } from '@nanoclaw/session-db';
import { z } from 'zod';
import { Problem } from '../errors/index.ts';
import { argument, changes, flag, type OperatorCommand, reads } from './command.ts';
import type { RegistryReader, WriteContext } from './contexts.ts';
import { oneOf } from './lookup.ts';
import { limit, Text } from './parameters.ts';
import { column } from './view.ts';

const approval = argument(Text, 'the approval: its id, or the beginning of it');

/** The commands about approvals. */
export const approvalCommands: readonly OperatorCommand[] = [
  reads({
    path: ['approvals', 'list'],
    summary: 'list the requests that wait for approval',
    parameters: z.object({ all: flag('include those that are decided or expired'), limit: limit(100) }),
    agents: 'never',
    view: {
      type: 'table',
      columns: [
        column('ID', 'id', 'id'),
        column('KIND', 'kind'),
        column('REQUEST', 'summary'),
        column('REQUESTED BY', 'requestedBy'),
        column('EXPIRES', 'expiresAt', 'time'),
        column('STATE', 'state'),
      ],
      empty: 'No request waits for approval.',
    },
    run: async ({ registry, now }, { all, limit: most }) => {
      const at = now();
      const only = all ? {} : ({ state: 'open', now: at } as const);
      return (await registry.approvals.list({ ...only, limit: most })).map((each) => toView(each, at));
    },
  }),
  reads({
    path: ['approvals', 'get'],
    summary: 'show one request, with what it would do',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'record' },
    run: async ({ registry, now }, parameters) => toView(await approvalNamed(registry, parameters.approval), now()),
  }),
  changes({
    path: ['approvals', 'approve'],
    summary: 'approve a request: what it asks for is done',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'message' },
    run: (context, parameters) => decide(context, parameters.approval, 'approved'),
  }),
  changes({
    path: ['approvals', 'deny'],
    summary: 'deny a request',
    parameters: z.object({ approval }),
    agents: 'never',
    view: { type: 'message' },
    run: (context, parameters) => decide(context, parameters.approval, 'denied'),
  }),
];

async function decide(context: WriteContext, named: string, type: 'approved' | 'denied') {
  const { registry, now, actor, live } = context;
  const { id, summary } = await approvalNamed(registry, named);
  const result = await registry.approvals.decide(id, { type, by: actor, at: now() });
  if (result !== 'decided') {
    const why = result === 'expired' ? 'It has expired' : 'It was already decided';
    throw new Problem(`${why}; nothing was changed. See \`nanoclaw approvals get ${id}\`.`, 7);
  }
  // What follows from it is written down with it, and done at the next start when no host runs now.
  await live?.applyApproval(id);
  const when = live === undefined ? ' It takes effect when the host starts.' : '';
  return { id, outcome: type, message: `${type === 'approved' ? 'Approved' : 'Denied'}: ${summary}.${when}` };
}

/** Among the open ones by the beginning of the id; among all by the whole of it. */
async function approvalNamed(registry: RegistryReader, text: string): Promise<Approval> {
  const listed = await registry.approvals.list({ limit: 1_000 });
  return oneOf(listed, text, 'approval', 'approvals list --all');
}

function toView(of: Approval, now: Millis) {
  // One whose time is over is noted as expired some time after it.
  return { ...of, state: isOpen(of, now) ? 'open' : (of.outcome?.type ?? 'expired') };
}
