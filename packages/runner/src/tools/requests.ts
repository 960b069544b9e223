/** Tools that ask the host for something only it may do. Whether it may be done is decided there, by a person if need be. */

import type { Json } from '@nanoclaw/session-db';
import { namePattern, nameProblem } from '@nanoclaw/session-db/text';
import { withoutInternal } from '../markup.ts';
import type { Tool } from '../provider.ts';
import type { ToolScope } from './scope.ts';
import { optional, ToolInputError, text, texts, tool } from './tool.ts';

export function requestTools(scope: ToolScope): Tool[] {
  return [createAgent(scope), installPackages(scope), addMcpServer(scope)];
}

/** Asks the host and says what came of it; a refusal is thrown, so that the model sees it as an error. */
export async function requested(
  scope: ToolScope,
  action: string,
  parameters: Readonly<Record<string, Json>>,
): Promise<string> {
  const result = await scope.request(action, parameters);
  switch (result.type) {
    case 'ok':
      return result.text;
    case 'error':
      throw new Error(`The host did not do it: ${result.text}`);
    case 'later':
      return `Asked for, as request ${result.number}. What comes of it will be told by a message of its own.`;
  }
}

function createAgent(scope: ToolScope): Tool {
  const name = text('name', 'What it is called.', 100);
  const instructions = optional(text('instructions', 'What it is for and how it should work.', 20_000));
  return tool({
    name: 'create_agent',
    description: 'Creates another agent, which you can then write to under its name.',
    fields: [name, instructions],
    call: (input) => {
      const told = instructions.of(input);
      const problem = nameProblem('agent', name.of(input));
      if (problem !== undefined) throw new ToolInputError(problem);
      return requested(scope, 'create_agent', {
        name: name.of(input),
        ...(told === undefined ? {} : { instructions: told }),
      });
    },
  });
}

function installPackages(scope: ToolScope): Tool {
  const apt = optional(
    texts('apt', 'Names of Debian packages.', {
      min: 1,
      max: 20,
      lengthMax: 100,
      pattern: namePattern('Debian package'),
    }),
  );
  const npm = optional(
    texts('npm', 'Names of npm packages.', { min: 1, max: 20, lengthMax: 202, pattern: namePattern('npm package') }),
  );
  const reason = text('reason', 'Why; the person who approves reads it.', 500);
  return tool({
    name: 'install_packages',
    description:
      'Asks to have packages added to your container. Somebody has to approve; the container is then restarted.',
    fields: [apt, npm, reason],
    call: (input) => {
      const [aptNames, npmNames] = [apt.of(input) ?? [], npm.of(input) ?? []];
      if (aptNames.length + npmNames.length === 0)
        throw new ToolInputError('install_packages needs a name in apt or npm.');
      return requested(scope, 'install_packages', {
        apt: aptNames,
        npm: npmNames,
        reason: withoutInternal(reason.of(input)),
      });
    },
  });
}

function addMcpServer(scope: ToolScope): Tool {
  const name = text(
    'name',
    'What its tools are found under: small letters, digits and dashes.',
    40,
    namePattern('MCP server'),
  );
  const command = text('command', 'The program that is the server, without arguments.', 200);
  const args = optional(texts('args', 'Its arguments, one each.', { min: 1, max: 50, lengthMax: 500 }));
  const reason = text('reason', 'Why; the person who approves reads it.', 500);
  return tool({
    name: 'add_mcp_server',
    description: 'Asks to have an MCP server added to you. Somebody has to approve; the container is then restarted.',
    fields: [name, command, args, reason],
    call: async (input) => {
      const problem = nameProblem('MCP server', name.of(input));
      if (problem !== undefined) throw new ToolInputError(problem);
      return requested(scope, 'add_mcp_server', {
        name: name.of(input),
        command: command.of(input),
        args: args.of(input) ?? [],
        reason: withoutInternal(reason.of(input)),
      });
    },
  });
}
