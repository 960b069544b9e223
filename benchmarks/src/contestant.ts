/** Who is measured: a system that takes a message, has another process work on it, and shows what came of it. */

/** One way to have a message answered. */
export interface Contestant {
  /** As the tables show it. */
  readonly name: string;
  /** `limit`: what the disk can do at best; `prototype`: two files and nothing else; `product`: this project; `peer`: what a user would take instead. */
  readonly group: 'limit' | 'prototype' | 'product' | 'peer';
  /** Starts it with everything that it needs, in a folder that it may fill. Rejects with a reason when it cannot be had here. */
  open(folder: string, sessions: number): Promise<Opened>;
}

/** A contestant that runs. */
export interface Opened extends AsyncDisposable {
  /**
   * Hands a message to one of its sessions, 0 up to the number it was opened with, and resolves when the answer is seen. An
   * answer that does not come rejects.
   */
  ask(session: number): Promise<void>;
  /** Its processes besides this one, for their processor time. */
  readonly pids?: () => readonly number[];
}
