/** Work that several may ask for at the same time and that is done once for all of them. */

/** Runs `work`, or waits for the same work of somebody else that is under way. Settles as the work does. */
export function once<Key>(underWay: Map<Key, Promise<void>>, key: Key, work: () => Promise<void>): Promise<void> {
  const running = underWay.get(key);
  if (running !== undefined) return running;
  const started = work().finally(() => underWay.delete(key));
  underWay.set(key, started);
  return started;
}
