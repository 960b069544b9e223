/** Loaded into a host by a test: code of the program that throws, where nothing catches it, once the process is told to. */
process.on('SIGUSR2', () => {
  throw new Error('our own mistake');
});
