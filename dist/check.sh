#!/usr/bin/env bash
# Format, vet, lint limits, import star, documented names, tidy. Prints one line per check; non-zero on the first breach.
set -u
cd "$(dirname "$0")/.."
fail=0
step() {
  local name=$1 out
  shift
  if out=$("$@" 2>&1); then echo "ok    $name"; else echo "FAIL  $name"; printf '%s\n' "$out" | sed 's/^/      /'; fail=1; fi
}
formatted() { local bad; bad=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r gofmt -l); [ -z "$bad" ] || { echo "run make fmt:"; echo "$bad"; return 1; }; }
step format formatted
step vet go vet ./...
step "lint, import star, documented names" go test -count=1 ./internal/arch
step tidy go mod tidy -diff
exit $fail
