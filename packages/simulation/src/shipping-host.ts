/** The parts of `apps/host` that are simulated: the one place that knows where they are. */
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { readConfig } from '../../../apps/host/src/config.ts';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { dataFolder } from '../../../apps/host/src/data-folder.ts';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { ensureDefaults } from '../../../apps/host/src/defaults.ts';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { Host } from '../../../apps/host/src/host.ts';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { openLog } from '../../../apps/host/src/log.ts';
