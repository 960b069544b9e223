/** One attack, in a process of the container's: `strike.ts NAME PLACE`, the place as JSON. */
import { openSqlite } from '@nanoclaw/session-db/bun';
import { ATTACKS } from './attacks/index.ts';

const [name, place] = process.argv.slice(2);
const attack = ATTACKS.find((each) => each.name === name);
if (attack === undefined || place === undefined) throw new Error(`There is no attack "${name}".`);
const given = JSON.parse(place);
await attack.act({ ...given, until: Math.max(given.until, Date.now() + (attack.lastsMs ?? 0)) }, openSqlite);
