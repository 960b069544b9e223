/** The host's commits, as a runner with a real file system hears of them. */
import { Doorbell, type InboundFolder, type Millis, type SetTimer } from '@nanoclaw/session-db';
import type { Bell } from '../runner.ts';

/** Hears the host's commits by the system's file notification and by a poll of its own. */
export function hostBell(folder: InboundFolder, setTimer: SetTimer): Bell {
  return {
    listen: (heard) => {
      const doorbell = new Doorbell(folder, heard, { setTimer, pollMaxMs: POLL_MAX_MS });
      return () => doorbell[Symbol.dispose]();
    },
  };
}

/** Where notifications do not cross a mount, /stop must still be obeyed within a second. */
const POLL_MAX_MS: Millis = 250;
