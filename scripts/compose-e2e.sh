#!/usr/bin/env bash
# The compose demo in a real engine: five daemons meet, share jobs, are stopped, unplugged, cut off and killed.
#
# Uses the engine that `docker info` finds. Without one, and as root, it installs Debian's packages and starts one of its
# own (docker-engine.sh). Where the base image can be neither found nor pulled, root makes a stand-in for it
# (mk-base-image.sh). Needs npm ci to have been run. Everything that it made is gone afterwards, packages apart.
#
#   STARLING_SKIP_COMPOSE=1     do nothing, successfully, where there is no engine and cannot be one
#   STARLING_E2E_ROOTFS=DIR     keep the stand-in's root file system there for the next time
#
# Ends with "N passed, M failed"; exit code 1 when something failed.
set -uo pipefail
cd "$(dirname "$0")/.."

base=node:24-bookworm-slim
members=(alice bob carol dave erin)
# Directories of the tree that is walked: enough that a job lasts for seconds.
copies=60
build_wait_s=400
healthy_wait_s=120
job_wait_s=200
silent_wait_s=60
# What the demo promises.
stop_max_s=10
rejoin_max_s=10

passed=0
failed=0
ok() { passed=$((passed + 1)); echo "ok: $*"; }
not_ok() { failed=$((failed + 1)); echo "FAILED: $*"; }
# assert WHAT COMMAND...
assert() { local what=$1; shift; if "$@"; then ok "$what"; else not_ok "$what"; fi; }
# within SECONDS COMMAND...: until it succeeds.
within() { local end=$(($(date +%s) + $1)); shift; until "$@"; do [ "$(date +%s)" -lt $end ] || return 1; sleep 0.2; done; }
now_ms() { date +%s%3N; }
seconds() { awk -v ms="$1" 'BEGIN { printf "%.1f s", ms / 1000 }'; }
load() { cut -d' ' -f1-3 /proc/loadavg; }
note() { echo "-- $*"; }

work=$(mktemp -d /tmp/starling-e2e.XXXXXX)
chmod 755 "$work"
own_engine= own_base= torn_down=
compose_words=(docker-compose)
export COMPOSE_PROJECT_NAME=starling-e2e-$$ DEMO_DIR=$work/tree DEMO_IMAGE=starling-e2e-$$ NODE_IMAGE=$base
export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=1 CUT_SECONDS=5

compose() { "${compose_words[@]}" "$@"; }
container() { compose ps -q "$1" 2>/dev/null | head -1; }
# What belongs to this run by its name, and images and volumes that were not there before.
leftovers() {
  docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"
  docker network ls -q --filter "name=$COMPOSE_PROJECT_NAME"
  docker volume ls -q --filter "name=$COMPOSE_PROJECT_NAME"
  touch "$work/before"
  { docker images -aq; docker volume ls -q; } | sort -u | comm -13 "$work/before" -
}

tear_down() {
  [ -z "$torn_down" ] || return 0
  torn_down=yes
  if docker info >/dev/null 2>&1; then
    compose --profile partition --profile kill down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1
    docker rmi -f "$DEMO_IMAGE" >/dev/null 2>&1
    docker image prune -f --filter label=starling.stage=build >/dev/null 2>&1
    if [ -n "$own_base" ]; then docker rmi -f "$base" >/dev/null 2>&1; fi
    assert "no container, network, volume or image is left" test -z "$(leftovers)"
  fi
  if [ -n "$own_engine" ]; then
    scripts/docker-engine.sh stop "$work/engine"
    assert "the engine has left no process, mount, link, rule or file" scripts/docker-engine.sh check "$work/engine"
  fi
  rm -rf "$work"
}
on_exit() { tear_down; exit "${1:-1}"; }
trap 'on_exit 1' EXIT
trap 'exit 130' INT TERM
give_up() { not_ok "$1"; tear_down; trap - EXIT; echo "$passed passed, $failed failed"; exit 1; }

find_engine() {
  if docker info >/dev/null 2>&1; then note "using the engine that is there"; return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    if [ "${STARLING_SKIP_COMPOSE:-}" = 1 ]; then
      trap - EXIT
      rm -rf "$work"
      echo "SKIPPED: no Docker engine runs, and one can only be started by root on Debian"
      exit 0
    fi
    give_up "no Docker engine runs, and one can only be started by root on Debian (STARLING_SKIP_COMPOSE=1 skips this)"
  fi
  own_engine=yes
  scripts/docker-engine.sh start "$work/engine" || give_up "an engine of our own starts"
  export DOCKER_HOST=unix://$work/engine/docker.sock
}

find_base() {
  if docker image inspect "$base" >/dev/null 2>&1; then note "using the image $base that is there"; return; fi
  own_base=yes
  if [ -z "$own_engine" ] && docker pull -q "$base" >/dev/null 2>&1; then note "pulled $base"; return; fi
  scripts/mk-base-image.sh "${STARLING_E2E_ROOTFS:-$work/rootfs}" "$base" || give_up "there is a base image"
}

make_tree() {
  mkdir -p "$DEMO_DIR"
  for copy in $(seq $copies); do cp -r src "$DEMO_DIR/$copy"; done
  chmod -R a+rX "$DEMO_DIR"
}

healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ]; }
all_healthy() { for name in "${members[@]}"; do healthy "$name" || return 1; done; }
# watch NAME WANTED SECONDS: waits until NAME's daemon sees WANTED, which is "all" or "MEMBER STATE|STATE", and prints when,
# in milliseconds since 1970. One process that asks often: a command for each look takes a second on a busy machine.
watch() {
  docker exec -i "$(container "$1")" node --input-type=module - "$2" "$3" <<'PROGRAM'
import { setTimeout } from 'node:timers/promises'
const { DaemonClient } = await import('/app/dist/sdk/index.js')
const [wanted, seconds] = process.argv.slice(2)
const [member, states] = wanted.split(' ')
const client = new DaemonClient()
const end = Date.now() + 1000 * seconds
for (;;) {
  const peers = await client.peers().catch(error => console.error(error.message) ?? [])
  const alive = peers.filter(({ state }) => state === 'alive').length
  const found = peers.find(({ name }) => name === member)
  if (wanted === 'all' ? alive === 5 : states.split('|').includes(found?.state)) break
  if (Date.now() > end) {
    console.error(peers.map(({ name, state }) => `${name} ${state}`).join(', '))
    process.exit(1)
  }
  await setTimeout(50)
}
console.log(Date.now())
client.close()
PROGRAM
}
shows() { watch "$1" "$2 $3" "$4" >/dev/null; }
# all_see_all SECONDS: prints when the last of them did.
all_see_all() {
  local name watching=()
  for name in "${members[@]}"; do
    watch "$name" all "$1" >"$work/$name.seen" &
    watching+=($!)
  done
  for name in "${watching[@]}"; do wait "$name" || return 1; done
  sort -n "$work"/*.seen | tail -1
}

# From the start of the container to the end of its first successful health check since then.
health_times() {
  local name time times from at
  for name in "${members[@]}"; do
    read -ra times < <(docker inspect -f '{{.State.StartedAt}}{{range .State.Health.Log}}{{if eq .ExitCode 0}} {{.End.Format "2006-01-02T15:04:05.000Z07:00"}}{{end}}{{end}}' "$(container "$name")")
    from=$(date -d "${times[0]}" +%s%3N)
    for time in "${times[@]:1}"; do
      at=$(date -d "$time" +%s%3N)
      if [ "$at" -gt "$from" ]; then echo "$name $(seconds $((at - from)))"; break; fi
    done
  done | paste -sd, - | sed 's/,/, /g'
}

hardened() {
  local id=$1 settings
  settings=$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}} {{.HostConfig.Init}}' "$id")
  [ "$settings" = "1000:1000 true [ALL] false true" ] || { echo "   settings: $settings"; return 1; }
  # What the kernel says about the running process.
  [ "$(docker exec "$id" sh -c 'id -u; sed -n "s/^CapEff:\t*//p;s/^NoNewPrivs:\t*//p" /proc/self/status; touch /app/x 2>/dev/null && echo writable' | paste -sd' ')" = "1000 0000000000000000 1" ]
}

# Nothing was lost, and nothing counted twice: the sum is that of one process. whole LOG EXIT
whole() {
  [ "$2" = 0 ] && grep -qE "verdict: completed([^-]|$)" "$1" && grep -q "identical: digest" "$1"
}
verdict_line() { grep -oE "(completed|incomplete)[a-z-]*: [0-9]+ tasks?.*" "$1" | tail -1; }
show_job() { sed -nE 's/^[^|]*job[^|]*\|([^ ]*m)? ?/   /p' "$1"; }

# The command of the documentation, with the profile given.
run_profile() {
  local profile=$1 sign=$2 log=$work/$1.log status
  timeout $job_wait_s "${compose_words[@]}" --profile "$profile" up --exit-code-from job >"$log" 2>&1
  status=$?
  show_job "$log"
  assert "$profile: it happened in the middle of the job" grep -q "$sign" "$log"
  assert "$profile: the job is completed, as one process would: $(verdict_line "$log"), exit code $status" whole "$log" $status
  [ $status -eq 0 ] || tail -40 "$log"
}

main_job() {
  local began log=$work/main.log status
  began=$(now_ms)
  timeout $build_wait_s "${compose_words[@]}" build alice >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; give_up "the image builds"; }
  ok "the image builds: $(seconds $(($(now_ms) - began))), $(docker image inspect -f '{{.Size}}' "$DEMO_IMAGE" | awk '{ printf "%.0f MB", $1 / 1e6 }') with a base of $(docker image inspect -f '{{.Size}}' "$base" | awk '{ printf "%.0f MB", $1 / 1e6 }')"
  timeout $job_wait_s "${compose_words[@]}" up --exit-code-from job >"$log" 2>&1
  status=$?
  show_job "$log"
  assert "without a manual step five daemons complete the job, as one process would: exit code $status" \
    eval "[ $status -eq 0 ] && grep -q 'verdict: completed' '$log' && grep -q 'identical: digest' '$log'"
  [ $status -eq 0 ] || { tail -40 "$log"; compose logs --tail 20; }
}

meet_again() {
  local began
  began=$(now_ms)
  compose up -d "${members[@]}" >/dev/null 2>&1
  assert "started again on their volumes, all are healthy" within $healthy_wait_s all_healthy
  note "start of the container to healthy: $(health_times); load $(load)"
  local at
  at=$(all_see_all $healthy_wait_s)
  assert "all see all, as the members that they were: $(seconds $((${at:-0} - began))) after up" test -n "$at"
  for name in "${members[@]}"; do
    assert "$name runs without root, capabilities and a writable root" hardened "$(container "$name")"
  done
}

stop_in_the_middle() {
  local dave began took
  dave=$(container dave)
  compose up -d job >/dev/null 2>&1
  within $job_wait_s docker exec "$(container alice)" test -e /swarm/job-in-the-middle || not_ok "the job comes into its middle"
  began=$(now_ms)
  docker stop -t $stop_max_s "$dave" >/dev/null
  took=$(($(now_ms) - began))
  assert "docker stop in the middle of a job is clean: exit code $(docker inspect -f '{{.State.ExitCode}}' "$dave"), $(seconds $took), load $(load)" \
    test "$(docker inspect -f '{{.State.ExitCode}}' "$dave")" = 0 -a $took -lt $((stop_max_s * 1000))
  assert "it is shown as left" shows alice dave left 10
  local job status
  job=$(compose ps -q job)
  status=$(timeout $job_wait_s docker wait "$job")
  docker logs "$job" >"$work/stop.log" 2>&1
  assert "what it had not ended was handed back, and the others complete the job: $(verdict_line "$work/stop.log")" whole "$work/stop.log" "$status"
  docker start "$dave" >/dev/null
  assert "started again it is back" shows alice dave alive $healthy_wait_s
}

unplug() {
  local network erin began watching took
  network=$(docker network ls -q --filter "name=${COMPOSE_PROJECT_NAME}_mesh")
  erin=$(container erin)
  all_see_all $healthy_wait_s >/dev/null || not_ok "all see all before the network is taken away"
  docker network disconnect "$network" "$erin"
  assert "a member without network is missed" shows alice erin "suspect|dead" $silent_wait_s
  assert "its card is gone" docker exec "$erin" sh -c '! grep -q eth /proc/net/dev'
  all_see_all $silent_wait_s >"$work/back" &
  watching=$!
  began=$(now_ms)
  docker network connect "$network" "$erin"
  wait $watching
  took=$(($(cat "$work/back") - began))
  assert "with its card it is back in the mesh by mDNS alone: $(seconds $took), load $(load)" test $took -gt 0 -a $took -le $((rejoin_max_s * 1000))
}

note "load at the start: $(load)"
began_s=$SECONDS
find_engine
if docker compose version >/dev/null 2>&1; then compose_words=(docker compose); fi
compose version >/dev/null 2>&1 || give_up "docker compose or docker-compose is installed"
find_base
note "engine and base image after $((SECONDS - began_s)) s; $(compose version --short)"
make_tree
{ if [ -z "$own_base" ]; then docker images -aq; fi; docker volume ls -q; } 2>/dev/null | sort -u >"$work/before"
for profile in "" partition kill; do
  assert "docker-compose.yml is valid${profile:+ with profile $profile}" compose ${profile:+--profile "$profile"} config -q
done
main_job
meet_again
stop_in_the_middle
unplug
run_profile partition "cut eth[0-9]* in the middle"
run_profile kill "killed the daemon"
tear_down
trap - EXIT
note "took $((SECONDS - began_s)) s; load at the end: $(load)"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
