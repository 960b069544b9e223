/** The parts of `apps/host` that are simulated: the one place that knows where they are. */
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { readConfig } from '../../../apps/host/src/config.js';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { dataFolder } from '../../../apps/host/src/data-folder.js';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { ensureDefaults } from '../../../apps/host/src/defaults.js';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { Host } from '../../../apps/host/src/host.js';
// tidy: allow direction — what is simulated is the host that ships, not a copy of its composition
export { openLog } from '../../../apps/host/src/log.js';
