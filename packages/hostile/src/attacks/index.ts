/** All that a container may try. */
import type { Attack } from '../attack.ts';
import { DATABASES } from './database.ts';
import { FILES } from './files.ts';
import { LIVE } from './live.ts';
import { REQUESTED } from './requests.ts';

/** Every attack of a container, in the order in which they are tried. */
export const ATTACKS: readonly Attack[] = [...FILES, ...DATABASES, ...REQUESTED, ...LIVE];
