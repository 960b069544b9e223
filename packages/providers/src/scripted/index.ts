/** A provider that does as a function says: for tests, and for bots that need no model. */
export { LostContinuation, ModelTrouble, type Script, type ScriptedTurn, scriptedProvider } from './scripted.ts';
