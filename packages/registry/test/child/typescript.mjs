// Lets a plain `node --import` run this package's sources: their imports say './x.js' where the file is './x.ts'.
import { registerHooks } from 'node:module';

registerHooks({
  resolve(specifier, context, nextResolve) {
    const ownSource = specifier.startsWith('.') && context.parentURL?.endsWith('.ts');
    return nextResolve(ownSource ? specifier.replace(/\.js$/, '.ts') : specifier, context);
  },
});
