/**
 * The process that reads for the host what agents wrote. It reads as the real one does, in the host's process, and fails
 * as the real one may: killed before a read or after it, late with an answer that is old by then, or not to be had.
 */
import {
  type Attachment,
  inProcessReader,
  type OutboundReader,
  removeAttachments,
  type SessionFolder,
  spoolAttachments,
} from '@nanoclaw/session-db';
import { openSqlite } from '@nanoclaw/session-db/node';
import type { World } from './world.ts';

/** Stands for the guard of one host. */
export class SimulatedGuard {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  reader(folder: SessionFolder): OutboundReader {
    const reader = inProcessReader(folder, openSqlite);
    return {
      read: async (request) => {
        const fault = this.#world.guardFault();
        if (fault === 'killed-before') return OVERRAN;
        if (fault === 'not-to-be-had') throw new Error('The guard could not be started.');
        const read = await reader.read(request);
        if (fault === 'killed-after') return OVERRAN;
        if (fault === 'late') await this.#world.pause(this.#world.chance.wait('late answer', 10, ANSWER_MAX_MS));
        return read;
      },
    };
  }

  async spool(folder: SessionFolder, messageId: string, names: readonly string[]): Promise<Attachment[]> {
    const fault = this.#world.guardFault();
    if (fault === 'not-to-be-had') throw new Error('The guard could not be started.');
    if (fault === 'late') await this.#world.pause(this.#world.chance.wait('late copy', 10, ANSWER_MAX_MS));
    return spoolAttachments(folder, messageId, names);
  }

  async remove(folder: SessionFolder, messageId: string): Promise<'removed' | 'unfinished'> {
    const fault = this.#world.guardFault();
    if (fault === 'killed-before') return 'unfinished';
    if (fault === 'not-to-be-had') throw new Error('The guard could not be started.');
    const removed = removeAttachments(folder, messageId);
    return fault === 'killed-after' ? 'unfinished' : removed;
  }

  async report() {
    return { isClosed: true, sentence: 'What agents wrote is read in the process of the simulation.' };
  }
}

const OVERRAN = { type: 'overran', detail: 'Its reader was killed.' } as const;

/** As the guard's policy has it: later than this it is killed. */
const ANSWER_MAX_MS = 10_000;
