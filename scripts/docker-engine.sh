#!/usr/bin/env bash
# A private Docker engine, started by hand from Debian's packages (no systemd) and removed again without traces.
#
#   docker-engine.sh start DIR    installs the packages if dockerd is missing; then: export DOCKER_HOST=unix://DIR/docker.sock
#   docker-engine.sh stop DIR     removes containers, bridges, firewall rules, mounts and DIR; packages stay. Idempotent.
#   docker-engine.sh check DIR    exit 1 and a list when something of it is left
#
# Needs root. While it runs, the host has Docker's bridge and firewall rules; `stop` puts back what `start` has noted.
set -euo pipefail

usage() { sed -n '2,8p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
command=$1
dir=$(realpath -m "$2")
# Beside DIR, so that `check` can still read it after `stop` has removed DIR.
before=$dir.before
ready_wait_s=60
stop_wait_s=30
forwarding=(net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables)
places=(/etc/docker/key.json /var/lib/docker /run/docker /run/docker.sock /var/lib/containerd /run/containerd)

install_packages() {
  if command -v dockerd >/dev/null && command -v docker-compose >/dev/null && command -v iptables >/dev/null; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io docker-compose iptables >/dev/null
}

links() { ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1 | sort; }
# Without counters and comments, and without what is there when nobody has ever asked: empty tables with policy ACCEPT.
rules() { iptables-save 2>/dev/null | sed -E '/^#/d; /^\*/d; /^COMMIT/d; s/ \[[0-9]+:[0-9]+\]//; / ACCEPT$/{/^:/d}' | sort; }
existing() { for place in "${places[@]}"; do if [ -e "$place" ]; then echo "$place"; fi; done | sort; }

# Whoever has been started with a path inside DIR.
processes() {
  local process words
  for process in /proc/[0-9]*; do
    words=$({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null || true)
    case $words in *"$dir/"*) echo "${process#/proc/}" ;; esac
  done
}

note_before() {
  rm -rf "$before"
  mkdir -p "$before"
  iptables-save >"$before/iptables" 2>/dev/null || true
  rules >"$before/rules"
  links >"$before/links"
  existing >"$before/places"
  for key in "${forwarding[@]}"; do
    if value=$(sysctl -n "$key" 2>/dev/null); then echo "$key=$value"; fi
  done >"$before/sysctl"
}

start() {
  [ "$(id -u)" -eq 0 ] || { echo "docker-engine.sh: an engine can only be started by root" >&2; exit 1; }
  install_packages
  mkdir -p "$dir"
  chmod 700 "$dir"
  note_before
  setsid dockerd --data-root "$dir/root" --exec-root "$dir/exec" -p "$dir/dockerd.pid" -H "unix://$dir/docker.sock" \
    --containerd-namespace "m$$" --containerd-plugins-namespace "p$$" >"$dir/dockerd.log" 2>&1 </dev/null &
  local end=$((SECONDS + ready_wait_s))
  until docker -H "unix://$dir/docker.sock" info >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "docker-engine.sh: not ready after $ready_wait_s s; end of its log:" >&2
      tail -5 "$dir/dockerd.log" >&2
      exit 1
    fi
    sleep .1
  done
  echo "engine up: DOCKER_HOST=unix://$dir/docker.sock"
}

stop() {
  [ -d "$dir" ] || return 0
  export DOCKER_HOST=unix://$dir/docker.sock
  local containers pid=
  containers=$(docker ps -aq 2>/dev/null || true)
  # shellcheck disable=SC2086 # one word per container
  [ -z "$containers" ] || docker rm -f $containers >/dev/null 2>&1 || true
  docker network prune -f >/dev/null 2>&1 || true
  if [ -f "$dir/dockerd.pid" ]; then
    pid=$(cat "$dir/dockerd.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq $((stop_wait_s * 10))); do [ -d "/proc/$pid" ] || break; sleep .1; done
  fi
  for link in $(links | comm -13 "$before/links" -); do
    case $link in docker0 | br-* | veth*) ip link del "$link" 2>/dev/null || true ;; esac
  done
  if [ -s "$before/iptables" ]; then
    iptables-restore <"$before/iptables"
  else
    iptables -P FORWARD ACCEPT
    for table in filter nat; do iptables -t $table -F; iptables -t $table -X; done
  fi
  while IFS= read -r setting; do sysctl -qw "$setting"; done <"$before/sysctl"
  for mount in $(awk -v d="$dir/" 'index($2,d)==1{print $2}' /proc/mounts | sort -r); do umount "$mount" 2>/dev/null || true; done
  for place in $(existing | comm -13 "$before/places" -); do rm -rf "$place"; done
  rm -rf "$dir"
}

# Everything that `start` has noted, compared with how it is now.
check() {
  local left=0
  report() { if [ -n "$2" ]; then echo "left behind: $1: $(echo "$2" | tr '\n' ' ')"; left=1; fi; }
  report directory "$(if [ -e "$dir" ]; then echo "$dir"; fi)"
  report processes "$(processes)"
  report mounts "$(awk -v d="$dir/" 'index($2,d)==1{print $2}' /proc/mounts)"
  report links "$(links | comm -13 "$before/links" - | grep -E '^(docker0|br-|veth)' || true)"
  report "firewall rules" "$(rules | comm -13 "$before/rules" -)"
  report places "$(existing | comm -13 "$before/places" -)"
  while IFS='=' read -r key value; do
    report "$key" "$(if [ "$(sysctl -n "$key")" != "$value" ]; then echo "not $value"; fi)"
  done <"$before/sysctl"
  [ $left -eq 0 ] && rm -rf "$before"
  return $left
}

case $command in
  start) start ;;
  stop) stop ;;
  check) check ;;
  *) usage ;;
esac
