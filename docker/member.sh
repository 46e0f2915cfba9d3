#!/bin/sh
# One member of the compose demo: a daemon, started again when it dies, and beside it a worker that serves `walk`.
#
#   member.sh found    the first member: makes the swarm and leaves a token for the others in /swarm
#   member.sh join     any other: waits for that token
#
# A member that belongs to the swarm already does not use the token up, so both may be run again on the same volumes. The
# founder makes a new token at each start: one that was used up, or is from before the founder's volume was removed, is
# replaced while the others try again.
set -u
umask 077

role=${1:?"found or join"}
token=/swarm/token
# Members that one token lets in, and for how long: homes that were removed come back as new members.
token_uses=100
token_ttl=20d
# Failed starts in a row, 1 s and up to the daemon's own 15 s of joining apart, before the container gives up.
starts_max=30
# A daemon that lived for so long was not a failed start.
healthy_s=60
# A killed daemon comes back like under a service manager.
restart_pause_s=1
slots=${WALK_SLOTS:-4}

daemon=
stopping=
on_stop() {
  stopping=yes
  if [ -n "$daemon" ]; then kill -TERM "$daemon"; else exit 143; fi
}
trap on_stop TERM INT

# In the background, so that a signal is handled at once.
pause() { sleep "$1" & wait $!; }

leave_token() {
  until [ -S "$STARLING_SOCKET" ]; do sleep 0.3; done
  # What it says besides is shown only when it fails: it repeats the token, which is a secret.
  until said=$(starling token create --uses "$token_uses" --ttl "$token_ttl" 2>&1 >"$token.new"); do
    echo "no token yet: $said" >&2
    sleep 1
  done
  mv "$token.new" "$token"
}

# The worker opens its session again by itself when the daemon comes back; only its first connection needs patience.
serve() {
  until [ -S "$STARLING_SOCKET" ]; do sleep 0.3; done
  while :; do
    node /app/dist/demo/worker-main.js "$slots"
    echo "the worker ended with exit code $?; starting it again" >&2
    sleep "$restart_pause_s"
  done
}

start_daemon() {
  if [ "$role" = found ]; then
    starling up &
    daemon=$!
    leave_token &
  else
    until [ -s "$token" ]; do pause 0.3; done
    starling up --join "$(cat "$token")" &
    daemon=$!
  fi
}

# A signal ends `wait` before the daemon has ended: then it is waited for again.
await_daemon() {
  while :; do
    wait "$daemon"
    code=$?
    kill -0 "$daemon" 2>/dev/null || break
  done
  daemon=
}

serve &
failed=0
while :; do
  began=$(date +%s)
  start_daemon
  await_daemon
  # 0: it was asked to stop. 2: its configuration is wrong, and will be.
  if [ -n "$stopping" ] || [ "$code" -eq 0 ] || [ "$code" -eq 2 ]; then exit "$code"; fi
  if [ $(($(date +%s) - began)) -ge $healthy_s ]; then failed=0; fi
  failed=$((failed + 1))
  if [ $failed -ge $starts_max ]; then exit "$code"; fi
  echo "the daemon ended with exit code $code; starting it again" >&2
  pause "$restart_pause_s"
done
