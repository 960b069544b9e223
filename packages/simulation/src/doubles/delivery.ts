/** Delivery with a slower floor: its look all around is four a second otherwise, and a simulated hour is mostly that. */
import { type LoopOptions, DeliveryLoop as Real, type World } from '@nanoclaw/delivery';

export * from '@nanoclaw/delivery';

export class DeliveryLoop extends Real {
  constructor(world: World, options: LoopOptions = {}) {
    super(world, { ...options, floorMs: FLOOR_MS });
  }
}

const FLOOR_MS = 60_000;
