import type { CompletionCommand, Words } from './model.ts'

/**
 * Completion for bash 3.2 and newer. Words from the daemon are compared one by one and never given to `compgen -W`,
 * which would run what stands in `$(...)` in them.
 */
export function bashCompletion(commands: readonly CompletionCommand[]): string {
  const valueCases = commands.flatMap(command =>
    command.flags.flatMap(({ flag, value }) =>
      value === undefined ? [] : [`    '${command.name} ${flag}') ${offer(value)}; return ;;`]
    )
  )
  return `# bash completion of starling; for this shell: source <(starling completion bash)
_starling_fixed() {
  local word
  for word in $1; do
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done
}
_starling_ask() {
  local word
  while IFS= read -r word; do
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done < <("\${COMP_WORDS[0]}" __complete "$1" 2>/dev/null)
}
_starling_files() {
  local word
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current")
}
_starling() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" verb="\${COMP_WORDS[1]}"
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    _starling_fixed '${commands.map(command => command.name).join(' ')} --help --version'
    return
  fi
  case "$verb $previous" in
${valueCases.join('\n')}
  esac
  if [[ $current == -* ]]; then
    case "$verb" in
${commands.map(({ name, flags }) => `      ${name}) _starling_fixed '${flags.map(({ flag }) => flag).join(' ')}' ;;`).join('\n')}
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
complete -F _starling starling
`
}

function offer(words: Words): string {
  switch (words.kind) {
    case 'ask':
      return `_starling_ask ${words.what}`
    case 'files':
      return '_starling_files'
    case 'fixed':
      return `_starling_fixed '${words.words.join(' ')}'`
    case 'none':
      return ':'
  }
}
