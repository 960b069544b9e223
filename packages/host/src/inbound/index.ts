/** A message comes in: who is concerned, what strangers may, which commands there are. */
export { People } from './people.ts';
