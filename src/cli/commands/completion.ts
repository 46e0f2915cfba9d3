import { Argument, type Command } from 'commander'
import type { Cli } from '../cli.ts'
import { completionModel } from '../completion/model.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export function register(program: Command, cli: Cli): void {
  program
    .command('completion')
    .description('print the completion script of a shell; for bash: source <(starling completion bash)')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .action(async (shell: (typeof SHELLS)[number]) => {
      const { commandTree } = await import('../program.ts')
      const commands = completionModel(await commandTree(cli, undefined))
      cli.terminal.raw(await script(shell, commands))
    })
}

async function script(shell: (typeof SHELLS)[number], commands: ReturnType<typeof completionModel>): Promise<string> {
  switch (shell) {
    case 'bash':
      return (await import('../completion/bash.ts')).bashCompletion(commands)
    case 'zsh':
      return (await import('../completion/zsh.ts')).zshCompletion(commands)
    case 'fish':
      return (await import('../completion/fish.ts')).fishCompletion(commands)
  }
}
