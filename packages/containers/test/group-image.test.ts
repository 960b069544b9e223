import { describe, expect, it } from 'vitest';
import { groupRecipe, type Packages, packagesProblem } from '../src/group-image.ts';

const BASE = { id: `sha256:${'a'.repeat(64)}`, labels: { 'io.nanoclaw.protocol': '2' } };
const packages = (apt: string[], npm: string[] = []): Packages => ({ apt, npm });

describe('the packages of a group', () => {
  it.each(['--option', 'a b', 'a;reboot', '$(id)', 'a\nRUN id', '', 'A', '../x', `x${'y'.repeat(200)}`])(
    'cannot be called %j',
    (name) => {
      expect(packagesProblem(packages([name]))).toMatch(/is not the name of a package/);
      expect(packagesProblem(packages([], [name]))).toMatch(/is not the name of a package/);
    },
  );

  it('can be called what packages are called', () => {
    expect(packagesProblem(packages(['libstdc++6', 'python3.11'], ['@scope/a-b', 'left-pad@1.3.0']))).toBeUndefined();
  });

  it('are some, and not hundreds', () => {
    expect(packagesProblem(packages([]))).toMatch(/no package/);
    expect(packagesProblem(packages(Array.from({ length: 51 }, (_, n) => `p${n}`)))).toMatch(/At most 50/);
  });
});

describe('the recipe of a group’s image', () => {
  it('is built upon ours, ends as nobody special, and keeps the protocol’s version', () => {
    expect(groupRecipe('nanoclaw-from:x', BASE, packages(['jq', 'ffmpeg'], ['left-pad']), 'home')).toBe(
      [
        'FROM nanoclaw-from:x',
        'USER 0:0',
        'RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg jq && rm -rf /var/lib/apt/lists/*',
        'RUN BUN_INSTALL=/usr/local bun add --global --ignore-scripts left-pad',
        'USER 1000:1000',
        'LABEL io.nanoclaw.protocol=2',
        `LABEL io.nanoclaw.base=${BASE.id} io.nanoclaw.image-of=home`,
        '',
      ].join('\n'),
    );
  });

  it('is the same in whatever order and however often packages are named', () => {
    expect(groupRecipe('nanoclaw-from:x', BASE, packages(['b', 'a', 'b']), 'x')).toBe(
      groupRecipe('nanoclaw-from:x', BASE, packages(['a', 'b']), 'x'),
    );
  });
});
