/** A process with nothing to do: how late its loop is, is the machine's own doing. Asked by a message, it answers in ms. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();
process.on('message', () => {
  process.send?.(Math.max(0, delay.max / 1e6 - 10));
  delay.reset();
});
