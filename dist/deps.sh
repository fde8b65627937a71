#!/usr/bin/env bash
# Installs the Debian packages that are missing: runc to run containers and, for the tests, containerd 1.6 beside the embedded one, a C
# compiler for the race detector, and shells whose completion is tested; for bench-api etcd, to compare with. A host that has them, or is
# not root, is left alone.
set -eu
missing=()
command -v runc >/dev/null || missing+=(runc)
if [ "${WITH_TESTS:-}" = 1 ]; then
  command -v containerd >/dev/null || missing+=(containerd)
  for shell in zsh fish; do command -v $shell >/dev/null || missing+=($shell); done # completion is tried in every shell
  [ -e /usr/share/bash-completion/bash_completion ] || missing+=(bash-completion)
  command -v gcc >/dev/null || missing+=(gcc libc6-dev) # the race detector needs cgo
fi
if [ "${WITH_ETCD:-}" = 1 ]; then
  command -v etcd >/dev/null || missing+=(etcd-server)
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
# The tests and the benchmarks start their own daemons: keep apt from starting the host's.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
