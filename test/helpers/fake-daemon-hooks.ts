import { registerHooks } from 'node:module'

/** For `node --import`: puts `fake-daemon.ts` in the place of the daemon that `starling up` would load. */
registerHooks({
  resolve(specifier, context, next) {
    const wanted = /^\.\.\/\.\.\/daemon\/(index|home)\.ts$/.test(specifier)
    return wanted && context.parentURL?.endsWith('/cli/commands/up.ts')
      ? { url: new URL('fake-daemon.ts', import.meta.url).href, format: 'module-typescript', shortCircuit: true }
      : next(specifier, context)
  }
})
