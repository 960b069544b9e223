/** The suite that every provider must pass. It knows no test framework. */
export {
  type ConformanceOptions,
  type ProviderCase,
  type ProviderLack,
  type ProviderUnderTest,
  providerConformance,
} from './conformance.ts';
