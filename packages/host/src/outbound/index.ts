/** A message goes out: where to, in what form, to another agent. */
export { cleanUp, type OutboundContext, routeOf, send } from './outbound.ts';
