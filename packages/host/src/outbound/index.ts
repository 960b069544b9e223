/** A message goes out: where to, in what form, or as mail to another agent. */
export { cleanUp, type OutboundPorts, routeOf, send } from './outbound.ts';
