/** `install_packages`: Debian and npm packages for the agent's image. Always needs an approval. */
import type { AgentGroupId, Packages } from '@nanoclaw/registry';
import type { JsonObject } from '@nanoclaw/session-db';
import { isName, type NameOf } from '@nanoclaw/session-db/text';
import { type Action, type ApprovedAction, type EffectContext, failed } from './action.ts';
import { askApproval, quoted, reasonOf } from './approval.ts';

/** Of each kind: in one request, and in an agent's image in all, which is what the registry takes. */
const NAMES_MAX = 20;
const PACKAGES_MAX = 50;

/** Asks whether the packages that are not there yet may be installed. */
export const installPackages: Action = async (request, ports) => {
  const { content } = request.row;
  const requested = packagesOf(content);
  if (requested === undefined) {
    return failed(`apt and npm must be lists of plain package names, at most ${NAMES_MAX} each; nothing was changed.`);
  }
  const agent = await ports.registry.agentGroup(request.session.agentGroupId);
  if (agent === undefined) return failed('This agent is no longer registered; nothing was changed.');
  const missing = without(requested, agent.packages);
  if (count(missing) === 0) return { status: 'ok', result: { text: 'All of them are installed already.' } };
  if (isTooMany(joined(agent.packages, missing))) return failed(TOO_MANY);
  const names = [...missing.apt.map((name) => `${name} (apt)`), ...missing.npm.map((name) => `${name} (npm)`)].join(
    ', ',
  );
  const what = `${quoted(agent.name, 60)} asks to install ${names}. Its reason:`;
  return askApproval(request, { what, why: reasonOf(content) }, { action: 'install_packages', ...missing }, ports);
};

/**
 * Adds them, builds the image and restarts the agent. When the image cannot be built they are taken out again, so that the
 * next attempt is not lost with them.
 */
export const installApprovedPackages: ApprovedAction = async ({ session, payload }, ports) => {
  const wanted = packagesOf(payload);
  if (wanted === undefined) return failed('The request can no longer be read; nothing was changed.');
  const { agentGroupId } = session;
  const agent = await ports.registry.agentGroup(agentGroupId);
  if (agent === undefined) return failed('This agent is no longer registered; nothing was changed.');
  if (isTooMany(joined(agent.packages, wanted))) return failed(TOO_MANY);
  await changePackages(ports, agentGroupId, (before) => joined(before, wanted));
  const built = await ports.rebuildImage(agentGroupId);
  if (built.type === 'failed') {
    await changePackages(ports, agentGroupId, (before) => without(before, wanted));
    return failed(`The image could not be built, and the old one stays in force: ${built.reason}`);
  }
  await ports.replaceOutdatedRuns();
  return {
    status: 'ok',
    result: { text: 'Installed; they are available from now on.', apt: wanted.apt, npm: wanted.npm },
  };
};

async function changePackages(
  { registry }: EffectContext,
  agentGroupId: AgentGroupId,
  change: (before: Packages) => Packages,
): Promise<void> {
  const agent = await registry.agentGroup(agentGroupId);
  if (agent) await registry.updateAgentGroup(agentGroupId, { packages: change(agent.packages) });
}

const TOO_MANY = `An agent has at most ${PACKAGES_MAX} packages of each kind; nothing was changed.`;

function isTooMany({ apt, npm }: Packages): boolean {
  return apt.length > PACKAGES_MAX || npm.length > PACKAGES_MAX;
}

/** The names in a request; `undefined` when one of them is none, or there are none or too many. */
function packagesOf({ apt = [], npm = [] }: JsonObject): Packages | undefined {
  const packages = { apt: namesOf(apt, 'Debian package'), npm: namesOf(npm, 'npm package') };
  if (packages.apt === undefined || packages.npm === undefined) return undefined;
  const found = { apt: packages.apt, npm: packages.npm };
  return count(found) === 0 ? undefined : found;
}

function namesOf(value: unknown, of: NameOf): string[] | undefined {
  if (!Array.isArray(value) || value.length > NAMES_MAX) return undefined;
  const names = value.filter((name) => typeof name === 'string' && isName(of, name));
  return names.length === value.length ? [...new Set(names)] : undefined;
}

function count({ apt, npm }: Packages): number {
  return apt.length + npm.length;
}

function without(some: Packages, others: Packages): Packages {
  return {
    apt: some.apt.filter((name) => !others.apt.includes(name)),
    npm: some.npm.filter((name) => !others.npm.includes(name)),
  };
}

function joined(some: Packages, others: Packages): Packages {
  return { apt: [...new Set([...some.apt, ...others.apt])], npm: [...new Set([...some.npm, ...others.npm])] };
}
