/** For tests: a provider that does as its script says, and the suite that every provider must pass. */
export { type ProviderCase, type ProviderUnderTest, providerConformance } from './conformance.ts';
export { LostContinuation, type Script, type ScriptedTurn, scriptedProvider } from './scripted.ts';
