/** Time zones: the one answer to whether a name is one. Pure; the zones are those that the runtime knows. */
import { cut } from './cut.ts';

/**
 * What is wrong with the name of a time zone, as one sentence; `undefined`: nothing. Every name and alias that the platform
 * knows is one (`Europe/Berlin`, `US/Eastern`, `Etc/GMT+5`, `UTC`); an offset such as `+02:00` is not, because it would
 * silently ignore summer time.
 */
export function zoneProblem(name: string): string | undefined {
  if (isZone(name)) return undefined;
  return `There is no time zone ${JSON.stringify(cut(name, 60))}; give an IANA name.`;
}

/** Whether a name is that of a time zone, as in `zoneProblem`. */
export function isZone(name: string): boolean {
  if (name.length > 64 || !/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).format(0) !== '';
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The zone of this machine, or UTC where the machine names none that can be used. */
export function machineZone(): string {
  // Undefined, or "Etc/Unknown", where TZ or /etc/localtime names nothing that the runtime knows.
  const name: string | undefined = new Intl.DateTimeFormat('en').resolvedOptions().timeZone;
  return name !== undefined && isZone(name) && name !== 'Etc/Unknown' ? name : 'UTC';
}
