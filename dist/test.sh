#!/usr/bin/env bash
# Runs every test with the race detector and names what ran and what was skipped. Needs root for network namespaces and
# containerd; what needs root is skipped by name otherwise.
set -u -o pipefail
cd "$(dirname "$0")/.."
go test -race -timeout 15m -json "$@" ./... | go run ./internal/testreport
