/** The commands of an operator, each declared once; how they reach a running host, or files without one. */

export { type Parsable, parseCommandLine, type Topics } from './arguments.ts';
export {
  argument,
  checkedParameters,
  type Declared,
  flag,
  kebab,
  label,
  type OperatorCommand,
  option,
  type ParameterDeclared,
  parametersOf,
} from './command.ts';
export type { ConfigValue, DrainReport, LiveHost, LiveStatus, Reading } from './contexts.ts';
export { ControlServer } from './control.ts';
export { dispatch } from './dispatch.ts';
export { type AnswerOptions, answer } from './execute.ts';
export { lookingAt } from './offline.ts';
export { Text, whole } from './parameters.ts';
export { harmless, type Page, rendered } from './render.ts';
export type { Operators } from './run.ts';
export { runOperatorCommand } from './scope.ts';
export { openSessionFiles, SessionViews } from './session-files.ts';
export { withUsableFiles } from './sessions.ts';
export { ABSENT, OPERATOR_COMMANDS, TOPICS } from './table.ts';
export { readEndpoints, type WebhookEndpoint } from './webhook-endpoints.ts';
