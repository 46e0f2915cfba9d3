#!/usr/bin/env node
/**
 * Entry point of the command `starling`. Imports nothing before the version of Node is known to be good enough: an old
 * one would fail in the middle of some dependency with a message about syntax. Only syntax of Node 14 in this file.
 */
const NODE_MAJOR_MIN = 22
const NODE_MINOR_MIN = 16

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN)) {
  process.stderr.write(
    `error: starling needs Node ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} or newer; this is Node ${process.versions.node}\n` +
      'hint: install a current Node (https://nodejs.org) and run the command with it\n'
  )
  process.exitCode = 2
} else {
  // Compiled code is kept between starts: half of a short command's time goes into compiling.
  process.getBuiltinModule('node:module').enableCompileCache?.()
  const { runCli } = await import('./program.ts')
  await runCli(process.argv.slice(2))
}

export {}
