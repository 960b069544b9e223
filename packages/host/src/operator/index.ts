/** The commands of the operator, each declared once; how they reach a running host, or the files without one. */

export { type ParsableCommand, parseCommandLine, type Topics } from './arguments.ts';
export {
  argument,
  type CommandDeclaration,
  checkedParameters,
  flag,
  kebabCase,
  type OperatorCommand,
  option,
  type ParameterDescription,
  parameterLabel,
  parametersOf,
} from './command.ts';
export type { ConfigValue, DrainReport, LiveHost, LiveProvider, LiveStatus, ReadContext } from './contexts.ts';
export { ControlServer } from './control.ts';
export { dispatch } from './dispatch.ts';
export { type ExecuteOptions, execute } from './execute.ts';
export { withReadContext } from './offline.ts';
export { Text, whole } from './parameters.ts';
export { type RenderOptions, render, stripControls } from './render.ts';
export type { CommandContexts } from './run.ts';
export { runAgentCommand } from './scope.ts';
export { openSessionFiles, SessionViews } from './session-files.ts';
export { withUsableFiles } from './sessions.ts';
export { MISSING_VERBS, OPERATOR_COMMANDS, TOPICS } from './table.ts';
export { readEndpoints } from './webhook-endpoints.ts';
