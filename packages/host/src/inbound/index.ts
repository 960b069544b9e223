/** A message comes in: which agents get it, which commands there are, what strangers may. */
export { People } from './people.ts';
