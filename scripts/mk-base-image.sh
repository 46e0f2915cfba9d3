#!/usr/bin/env bash
# A local stand-in for node:*-bookworm-slim, where Docker Hub cannot be reached: Debian's minimal system, the machine's
# npm and the Node of this repository, imported under the official image's name.
#
#   mk-base-image.sh ROOTFS-DIR TAG [NODE]    NODE: path of a Node binary; default: the one in node_modules
#
# ROOTFS-DIR is made when it is empty (debootstrap, half a minute) and may be kept for the next time. Needs root, npm,
# debootstrap (installed when it is missing) and a running engine.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
root=$1 tag=$2 node=${3:-$(dirname "$0")/../node_modules/.bin/node}
suite=bookworm

if [ ! -x "$node" ]; then echo "mk-base-image.sh: there is no Node at $node: run npm ci first" >&2; exit 1; fi
if ! command -v debootstrap >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
# The mirror that this machine installs from.
mirror=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1=="deb"{print $2; exit}' /etc/apt/sources.list)
if [ ! -e "$root/.complete" ]; then
  rm -rf "$root"
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" >/dev/null
  chroot "$root" groupadd -g 1000 node
  chroot "$root" useradd -u 1000 -g node -s /bin/bash -m node
  touch "$root/.complete"
fi

# Links instead of copies; what is changed below is new in this tree.
tree=$(mktemp -d -p "$(dirname "$(realpath "$root")")")
trap 'rm -rf "$tree"' EXIT
cp -al "$root/." "$tree/"
rm -rf "$tree/.complete" "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale}/*
rm -rf "${tree:?}"/{proc,sys,dev}/*
install -Dm755 "$(readlink -f "$node")" "$tree/usr/local/bin/node"
mkdir -p "$tree/usr/local/lib/node_modules"
cp -a "$(npm root -g 2>/dev/null)/npm" "$tree/usr/local/lib/node_modules/"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tree/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$tree/usr/local/bin/npx"
# What this machine trusts, so that npm in a build reaches the registry that this machine reaches.
rm -f "$tree/etc/ssl/certs/ca-certificates.crt"
cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
cat >"$tree/usr/local/bin/docker-entrypoint.sh" <<'ENTRYPOINT'
#!/bin/sh
set -e
if [ "${1#-}" != "${1}" ] || [ -z "$(command -v "${1}")" ] || { [ -f "${1}" ] && ! [ -x "${1}" ]; }; then
  set -- node "$@"
fi
exec "$@"
ENTRYPOINT
chmod 755 "$tree/usr/local/bin/docker-entrypoint.sh"
chown -R 0:0 "$tree/usr/local"
version=$("$tree/usr/local/bin/node" -p process.versions.node)
# One tree, one layer: an import refuses a path that comes twice.
tar -C "$tree" -c . | docker import \
  -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  -c "ENV NODE_VERSION=$version" \
  -c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
  -c 'ENTRYPOINT ["docker-entrypoint.sh"]' \
  -c 'CMD ["node"]' - "$tag" >/dev/null
echo "made $tag with Node $version"
