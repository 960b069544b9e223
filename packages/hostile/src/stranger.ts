/** One attack of a stranger, in a process of its own: `stranger.ts NAME DOOR`, the door as JSON. */
import { STRANGERS } from './attacks/webhook.ts';

const [name, door] = process.argv.slice(2);
const attack = STRANGERS.find((each) => each.name === name);
if (attack === undefined || door === undefined) throw new Error(`There is no attack "${name}".`);
await attack.act(JSON.parse(door));
process.exit();
