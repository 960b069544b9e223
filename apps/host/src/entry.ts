#!/usr/bin/env node
/**
 * Where the program begins: looks whether this Node can run it, and only then loads `main.ts`.
 *
 * It imports nothing itself, because an import is loaded before the first line runs, and what the program relies on ends
 * in a stack trace on an older Node.
 */
/** As in `engines` of package.json: the first line of releases that are supported with all that is used here. */
const NEEDED = { major: 22, minor: 18 };

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const isNewEnough = major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor);
if (isNewEnough && process.argv.length === 3 && process.argv[2] === '--version') {
  // Without the 700 files that the rest is made of.
  const { version } = await import('./version.ts');
  process.stdout.write(`${version()}\n`);
} else if (isNewEnough) {
  await import('./main.ts');
} else {
  process.stderr.write(
    `nanoclaw: This needs Node ${NEEDED.major}.${NEEDED.minor} or newer, and this is Node ${process.versions.node}; ` +
      'nothing was done. Run ./nanoclaw in the folder of NanoClaw, which brings a Node of its own, or install a newer one.\n',
  );
  process.exitCode = 1;
}
