#!/usr/bin/env bash
# Checks model/starling.pml with spin: every configuration must hold, every mutant must fail in the way that is named.
#   scripts/model-check.sh [--deep] [--only NAME] [--list]
# Needs spin and gcc; as root it installs them. Two searches at a time. Ends with "N passed, M failed".
set -uo pipefail
cd "$(dirname "$0")/.."
model=$PWD/model/starling.pml

deep=
only=
list=
while [ $# -gt 0 ]; do
  case $1 in
    --deep) deep=1 ;;
    --list) list=1 ;;
    --only)
      [ $# -ge 2 ] || { echo "--only needs the name of a row" >&2; exit 2; }
      only=$2
      shift
      ;;
    *) echo "usage: scripts/model-check.sh [--deep] [--only NAME] [--list]" >&2; exit 2 ;;
  esac
  shift
done

PARALLEL=2
MEMORY_MB=4900      # of one search: two of them stay below 10 GiB
ROW_SECONDS=150     # of processor time, for one search
DEEP_MEMORY_MB=9000
DEEP_SECONDS=3600

rows() {
  grep -v -e '^#' -e '^ *$' model/rows.txt
}

words() {
  case $1 in
    11) echo "a body outlives its engagement at the announcement" ;;
    12) echo "a live vertex at the announcement" ;;
    13) echo "a running body at the announcement" ;;
    14) echo "a hand-off that will be accepted after the announcement" ;;
    15) echo "hang: nothing can happen, nothing announced" ;;
    16) echo "a bound of the model was reached" ;;
    17) echo "a child settled twice" ;;
    18) echo "a vertex settled without each of its children" ;;
    19) echo "two bodies of an exclusive task" ;;
    20) echo "accepted or started after the announcement" ;;
    21) echo "a settle 'cancelled' for an owner that is not cancelling" ;;
    cycle) echo "a cycle" ;;
    *) echo "$1" ;;
  esac
}

need() {
  local missing=()
  command -v spin >/dev/null || missing+=(spin)
  command -v gcc >/dev/null || missing+=(gcc)
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}; install them (Debian: apt-get install spin gcc), or run this as root" >&2
    return 1
  fi
  # The package lists of a fresh machine are empty, those of an older one may be stale.
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq spin gcc libc6-dev; } >"$out/apt.log" 2>&1; then
    tail -5 "$out/apt.log" >&2
    return 1
  fi
}

# check NAME KIND SWITCHES EXPECTED: one search in a directory of its own; the row of the table goes to its file `line`.
check() {
  local name=$1 kind=$2 switches=$3 expected=$4 dir=$out/$1 optimise=-O2 memory=$MEMORY_MB seconds=$ROW_SECONDS
  local cc=(-w -DNOBOUNDCHECK) run=(-m5000)
  mkdir -p "$dir"
  cd "$dir" || return 1
  [ -n "$deep" ] && memory=$DEEP_MEMORY_MB && seconds=$DEEP_SECONDS
  # POR finds nothing to reduce: every statement touches shared state.
  case $kind in
    holds) cc+=(-DSAFETY -DNOREDUCE) ;;
    small) cc+=(-DSAFETY -DNOREDUCE); optimise=-O1 ;;
    cycles) cc+=(-DNP -DNOREDUCE); run+=(-l); optimise=-O1 ;;
    large) cc+=(-DSAFETY -DNOREDUCE -DCOLLAPSE) ;;
    partial) cc+=(-DSAFETY -DNOREDUCE -DBITSTATE); run+=(-w35 -k3 -Q30) ;;
    mutant) cc+=(-DSAFETY -DNOREDUCE); optimise=-O0 ;;
  esac
  local status
  # shellcheck disable=SC2086 # the switches are words
  spin -a $switches "$model" >spin.log 2>&1
  if ! gcc $optimise "${cc[@]}" "-DMEMLIM=$memory" -o pan pan.c >gcc.log 2>&1; then
    tail -3 spin.log gcc.log >error.log 2>&1
    report "$name" "cannot be built: $(grep -h -m1 -i error spin.log gcc.log)" - - - - - failed
    return
  fi
  local TIMEFORMAT=%U
  {
    time (
      ulimit -t "$seconds"
      ./pan "${run[@]}" >pan.log 2>pan.err
    )
    echo $? >status
  } 2>cpu
  status=$(cat status)
  judge
}

# The verdict over pan.log. Uses the variables of `check`.
judge() {
  local stored transitions depth error complete=complete result verdict=failed
  stored=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log | tail -1)
  transitions=$(sed -n 's/^ *\([0-9.e+]*\) transitions.*/\1/p' pan.log | tail -1)
  depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' pan.log | tail -1)
  error=$(sed -n 's/.*assertion violated.*(fin==\([0-9]*\)).*/\1/p' pan.log | head -1)
  [ -z "$error" ] && grep -q 'non-progress cycle' pan.log && grep -q 'errors: [1-9]' pan.log && error=cycle
  [ -z "$error" ] && error=$(sed -n 's/^pan:[0-9]*: \(.*\)/\1/p' pan.log | head -1)
  [[ $switches == *-DCUTOK* ]] && complete='complete up to the bounds'
  # Killed by SIGXCPU or SIGKILL.
  if [ "$status" -gt 128 ]; then complete="no: ${seconds} s are over"
  elif grep -q -e 'max search depth' -e 'out of memory' -e 'memory exceeded' pan.log pan.err; then complete="no: depth or memory"
  elif [ "$kind" = partial ]; then complete="bitstate, hash factor $(sed -n 's/.*hash factor: \([0-9.e+]*\).*/\1/p' pan.log)"
  elif grep -q 'Search not completed' pan.log; then complete=-
  fi
  if [ -n "$error" ]; then
    result=$(words "$error")
    if [ "$kind" = mutant ]; then
      complete=-
      if [[ " ${expected//,/ } " == *" $error "* ]]; then verdict=passed; else result="$result (expected $expected)"; fi
    fi
  elif ! grep -q 'errors: 0' pan.log; then
    result="no result (exit $status)"
  elif [ "$kind" = mutant ]; then
    result="SURVIVES"
  else
    result="no error"
    if [[ $complete == complete* ]] || [ "$kind" = partial ]; then verdict=passed; fi
  fi
  report "$name" "$result" "${stored:--}" "${transitions:--}" "${depth:--}" "$(cat cpu)" "$complete" "$verdict"
}

report() {
  printf '%-22s %-58s %12s %13s %6s %8s  %s%s\n' "$1" "$2" "$3" "$4" "$5" "$6" "$7" \
    "$([ "$8" = passed ] || echo '  FAILED')" | tee line
  echo "$8" >verdict
}

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
if [ -n "$list" ]; then
  rows
  exit 0
fi
need || { echo "0 passed, 1 failed"; exit 1; }

printf '%-22s %-58s %12s %13s %6s %8s  %s\n' configuration result "states" transitions depth 'cpu secs' complete
names=()
while IFS='|' read -r name set kind switches expected; do
  name=${name// /} set=${set// /} kind=${kind// /} expected=${expected// /}
  if [ -n "$only" ]; then [ "$name" = "$only" ] || continue
  elif [ "$set" = deep ] && [ -z "$deep" ]; then continue
  fi
  while [ "$(jobs -rp | wc -l)" -ge "$PARALLEL" ]; do wait -n; done
  names+=("$name")
  check "$name" "$kind" "$switches" "$expected" &
done < <(rows)
wait

passed=0
failed=0
for name in "${names[@]}"; do
  if [ "$(cat "$out/$name/verdict" 2>/dev/null)" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
if [ ${#names[@]} -eq 0 ]; then
  echo "no such row: $only" >&2
  failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
