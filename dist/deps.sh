#!/usr/bin/env bash
# Installs the Debian packages that are missing: runc to run containers, containerd 1.6 for the tests beside the embedded one,
# iproute2 and nftables for machines made of network namespaces. A host that has them, or is not root, is left alone.
set -eu
missing=()
command -v runc >/dev/null || missing+=(runc)
command -v ip >/dev/null || missing+=(iproute2)
if [ "${WITH_TESTS:-}" = 1 ]; then
  command -v containerd >/dev/null || missing+=(containerd)
  command -v gcc >/dev/null || missing+=(gcc libc6-dev) # the race detector needs cgo
fi
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "not root: leaving these packages uninstalled: ${missing[*]} (run: sudo apt-get install ${missing[*]})"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "please install: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null
# A policy of "do not start services": the tests start their own daemons.
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
