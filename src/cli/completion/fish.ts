import type { CompletionCommand, Words } from './model.ts'

/** Completion for fish: a file `starling.fish` in `~/.config/fish/completions`. */
export function fishCompletion(commands: readonly CompletionCommand[]): string {
  const lines = [
    '# fish completion of starling; for this shell: starling completion fish | source',
    'complete -c starling -f'
  ]
  for (const { name, description, flags, argument } of commands) {
    const seen = `-n '__fish_seen_subcommand_from ${name}'`
    lines.push(`complete -c starling -n __fish_use_subcommand -a ${name} -d ${quote(description)}`)
    for (const { flag, description, value } of flags) {
      const takes = value === undefined ? '' : ` ${value.kind === 'files' ? '-r -F' : `-x${offer(value)}`}`
      lines.push(`complete -c starling ${seen} -l ${flag.replace(/^--/, '')}${takes} -d ${quote(description)}`)
    }
    if (argument.kind !== 'none') lines.push(`complete -c starling ${seen}${offer(argument)}`)
  }
  return `${lines.join('\n')}\n`
}

function offer(words: Words): string {
  if (words.kind === 'ask') return ` -a '(starling __complete ${words.what} 2>/dev/null)'`
  return words.kind === 'fixed' ? ` -a '${words.words.join(' ')}'` : ''
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
