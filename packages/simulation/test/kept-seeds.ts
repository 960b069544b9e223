/** Every seed that ever failed on the shipping code, with what was wrong. */
export const KEPT_SEEDS: readonly { readonly seed: number; readonly was: string }[] = [
  { seed: 10, was: 'a locked inbound.db at the end of a failed start ended the host' },
  { seed: 35, was: 'a full disk at the end of a run ended the host' },
  { seed: 57, was: 'a platform that never answered a notice kept its session from being swept for good' },
];
