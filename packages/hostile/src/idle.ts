/** A process with nothing to do. Its monitor says how late its loop is; it ends with whoever has started it. */
process.on('disconnect', () => process.exit());
setInterval(() => undefined, 60_000);
