/** What is an agent's own, decided from the registry and never from what the agent says of itself. */
import type { Confine } from './command.ts';
import { agentGroupNamed, sessionNamed } from './lookup.ts';

/** For commands about one agent group. */
export function ownGroup<Parameters extends { readonly group: string }>(): Confine<Parameters> {
  return async (parameters, own, { registry }) => {
    const { id } = await agentGroupNamed(registry, parameters.group);
    return id === own ? { ...parameters, group: own } : undefined;
  };
}

/** For lists that may be narrowed to an agent group: they are, to its own. */
export function ownGroupOnly<Parameters extends { readonly group?: string | undefined }>(): Confine<Parameters> {
  return async (parameters, own, { registry }) => {
    if (parameters.group === undefined) return { ...parameters, group: own };
    const { id } = await agentGroupNamed(registry, parameters.group);
    return id === own ? { ...parameters, group: own } : undefined;
  };
}

/** For commands about one session. */
export function ownSession<Parameters extends { readonly session: string }>(): Confine<Parameters> {
  return async (parameters, own, operator) => {
    const session = await sessionNamed(operator, parameters.session);
    return session.key.agentGroupId === own ? { ...parameters, session: session.id } : undefined;
  };
}
