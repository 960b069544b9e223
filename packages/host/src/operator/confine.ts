/** Confines parameters to what belongs to one agent, as the registry has it and never as the agent claims. */
import type { Confine } from './command.ts';
import { agentGroupNamed, sessionNamed } from './lookup.ts';

/** Confines a command about one agent group to the agent's own. */
export function ownGroup<Parameters extends { readonly group: string }>(): Confine<Parameters> {
  return async (parameters, own, { registry }) => {
    const { id } = await agentGroupNamed(registry, parameters.group);
    return id === own ? { ...parameters, group: own } : undefined;
  };
}

/** Narrows a list to the agent's own group. */
export function ownGroupOnly<Parameters extends { readonly group?: string | undefined }>(): Confine<Parameters> {
  return async (parameters, own, { registry }) => {
    if (parameters.group === undefined) return { ...parameters, group: own };
    const { id } = await agentGroupNamed(registry, parameters.group);
    return id === own ? { ...parameters, group: own } : undefined;
  };
}

/** Confines a command about one session to the agent's own. */
export function ownSession<Parameters extends { readonly session: string }>(): Confine<Parameters> {
  return async (parameters, own, context) => {
    const session = await sessionNamed(context, parameters.session);
    return session.key.agentGroupId === own ? { ...parameters, session: session.id } : undefined;
  };
}
