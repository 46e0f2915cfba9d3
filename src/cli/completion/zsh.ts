import type { CompletionCommand, Words } from './model.ts'

/** Completion for zsh: as a file `_starling` in `fpath`, or sourced after `compinit`. */
export function zshCompletion(commands: readonly CompletionCommand[]): string {
  const valueCases = commands.flatMap(command =>
    command.flags.flatMap(({ flag, value }) =>
      value === undefined ? [] : [`    '${command.name} ${flag}') ${offer(value)}; return ;;`]
    )
  )
  return `#compdef starling
# zsh completion of starling; for this shell: source <(starling completion zsh)
_starling() {
  local verb=\${words[2]} previous=\${words[CURRENT-1]}
  if (( CURRENT == 2 )); then
    local -a verbs=(
${commands.map(({ name, description }) => `      ${quote(`${name}:${description.replaceAll(':', ' -')}`)}`).join('\n')}
    )
    _describe command verbs
    return
  fi
  case "$verb $previous" in
${valueCases.join('\n')}
  esac
  if [[ \${words[CURRENT]} == -* ]]; then
    case "$verb" in
${commands.map(({ name, flags }) => `      ${name}) compadd -- ${flags.map(({ flag }) => flag).join(' ')} ;;`).join('\n')}
    esac
    return
  fi
  case "$verb" in
${commands
  .filter(({ argument }) => argument.kind !== 'none')
  .map(({ name, argument }) => `    ${name}) ${offer(argument)} ;;`)
  .join('\n')}
  esac
}
if [[ \${funcstack[1]} == _starling ]]; then _starling "$@"; else compdef _starling starling; fi
`
}

function offer(words: Words): string {
  switch (words.kind) {
    case 'ask':
      return `compadd -- \${(f)"$(starling __complete ${words.what} 2>/dev/null)"}`
    case 'files':
      return '_files'
    case 'fixed':
      return `compadd -- ${words.words.join(' ')}`
    case 'none':
      return ':'
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
