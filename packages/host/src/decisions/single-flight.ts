/** Work that several callers may ask for at the same time and that is done once for all of them. */

/** Runs `work`, or waits for work under the same key that is under way already. Settles as the work does. */
export function singleFlight<Key>(
  underWay: Map<Key, Promise<void>>,
  key: Key,
  work: () => Promise<void>,
): Promise<void> {
  const running = underWay.get(key);
  if (running !== undefined) return running;
  const started = work().finally(() => underWay.delete(key));
  underWay.set(key, started);
  return started;
}
