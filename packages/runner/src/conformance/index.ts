/** The suite that every provider must pass. It knows no test framework. */
export { type ConformanceOptions, type ProviderUnderTest, providerConformance } from './conformance.ts';
