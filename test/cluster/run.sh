#!/bin/bash
# Runs the tests of this folder in private network, mount and process namespaces that vanish with it.
# STARLING_CHAOS_MINUTES=60 has the nemesis of chaos.test.ts go on for an hour, STARLING_CHAOS_SEED=N repeats its choices.
# usage: test/cluster/run.sh [FILE...]      needs Linux, iproute2, util-linux, nft, python3; as root or as a plain user
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
if [ "${STARLING_SKIP_CLUSTER:-}" = 1 ]; then echo "cluster tests skipped: STARLING_SKIP_CLUSTER=1" >&2; exit 0; fi
for tool in ip unshare nft python3; do
  command -v "$tool" >/dev/null || { echo "run.sh: needs $tool (Debian: apt-get install iproute2 util-linux nftables python3)" >&2; exit 2; }
done
"$here/netns-mesh.sh" sandbox true || {
  echo "run.sh: network namespaces are not available here: run as root, allow user namespaces, or set STARLING_SKIP_CLUSTER=1" >&2; exit 2; }
export PATH=$PWD/node_modules/.bin:$PATH STARLING_SANDBOX=1
exec "$here/netns-mesh.sh" sandbox vitest run --config test/cluster/vitest.config.ts "$@"
