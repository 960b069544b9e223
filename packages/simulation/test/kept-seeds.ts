/** Every seed that ever failed on the shipping code, or by a flaw of the simulation, with what was wrong. */
export const KEPT_SEEDS: readonly { readonly seed: number; readonly was: string }[] = [
  { seed: 10, was: 'a locked inbound.db at the end of a failed start ended the host' },
  { seed: 35, was: 'a full disk at the end of a run ended the host' },
  { seed: 57, was: 'a platform that never answered a notice kept its session from being swept for good' },
  { seed: 2_124_781_543, was: 'the age of a run that was killed was taken from a clock that had been set back' },
  {
    seed: 2_124_641_801,
    was: 'a platform that shows late looked only then for a file that had been delivered and removed',
  },
  {
    seed: 2_125_226_122,
    was: 'an occurrence that a clock set back had taken back and written again, between two looks, was held to its number',
  },
];

/** Every history of the enumeration in which a crash point ever failed on the shipping code, with what was wrong. */
export const KEPT_CRASHES: readonly { readonly history: number; readonly points: number; readonly was: string }[] = [
  { history: 0, points: 60, was: 'a power cut tore the file of the rate limits, and the host did not start any more' },
  {
    history: 3,
    points: 200,
    was: "a power cut in a runner's first commit left a file that the host took for a hostile one, for good",
  },
  { history: 8, points: 330, was: 'a power cut took a file that an agent had sent, and left the row that names it' },
];
