# Drover. `make help` lists the targets; `make demo` and `make test` do all their own set-up on Debian or Ubuntu with Go and make.
SHELL       := /bin/bash
GO          ?= go
BIN         := bin
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)
export GOFLAGS := -buildvcs=false

.DEFAULT_GOAL := build
.PHONY: help build deps deps-test deps-bench demo test check test-unit test-cli man fuzz drills bench bench-sched bench-c1m bench-blocked bench-api fmt clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/drover, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/drover ./cmd/drover

$(BIN)/hello: $(wildcard examples/hello/*.go)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./examples/hello

deps-test:
	@WITH_TESTS=1 bash dist/deps.sh

deps-bench:
	@WITH_ETCD=1 bash dist/deps.sh

deps: ## install the Debian packages that the demo and the tests need and that are missing
	@bash dist/deps.sh

demo: deps build $(BIN)/hello ## start a herd, run a job, kill an agent, then a machine, show it heal (KEEP=1, DRIVER=exec)
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/demo ./e2e/demo
	@KEEP="$(KEEP)" DRIVER="$(DRIVER)" $(BIN)/demo --drover $(BIN)/drover --hello $(BIN)/hello

test: deps-test build $(BIN)/hello ## the whole test suite; names what ran and what was skipped
	@DROVER_BIN=$(CURDIR)/$(BIN)/drover HELLO_BIN=$(CURDIR)/$(BIN)/hello bash dist/test.sh

test-unit: ## everything but e2e
	$(GO) test -race $$($(GO) list ./... | grep -v /e2e)

properties: ## check the planner's laws on CASES (default 10000) random histories each
	$(GO) test -timeout 60m ./sched -run 'TestTheLaw|TestMemoryChangesNothing|TestBestIsBest|TestTheAgendaForgetsNobody|TestSpreadMeetsItsTargets' -rapid.checks=$(or $(CASES),10000)

check: ## format, vet, lint limits, import star, documented names, tidy
	@bash dist/check.sh

fuzz: ## run every fuzz target for FUZZTIME (default 10s) each
	@bash dist/fuzz.sh

test-cli: deps-test build $(BIN)/hello ## run every command against 3 servers and 2 clients (STORY=name,…)
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/cli-stories ./e2e/cli
	@$(BIN)/cli-stories --drover $(BIN)/drover --hello $(BIN)/hello --story "$(STORY)" $(CLI)

man: build ## write a manual page for every command into bin/man
	@$(BIN)/drover docs man $(BIN)/man

drills: deps build $(BIN)/hello ## kill and cut things at least ten times each and count what was lost
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/drills ./e2e/drills
	@$(BIN)/drills --drover $(BIN)/drover --hello $(BIN)/hello $(DRILL)

bench: deps build $(BIN)/hello ## print one BENCH line per figure with its bound
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/bench ./e2e/bench
	@$(BIN)/bench --drover $(BIN)/drover --hello $(BIN)/hello $(BENCH)

bench-sched: ## print what a placement costs, by fleet, shape and size of job (SCHED="--nodes 5000 --runs 1")
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/benchsched ./e2e/benchsched
	@$(BIN)/benchsched $(SCHED)

# Options of bench-c1m: NODES JOBS COUNT SHAPE KILL_LEADER=1, and C1M for further flags (bin/bench-c1m --help).
C1M_FLAGS = $(if $(NODES),--nodes $(NODES)) $(if $(JOBS),--jobs $(JOBS)) $(if $(COUNT),--count $(COUNT)) $(if $(SHAPE),--shape $(SHAPE)) \
  $(if $(filter-out 0,$(KILL_LEADER)),--kill-leader) $(C1M)

bench-c1m: build ## place a million copies on 5,000 simulated nodes, and check them (NODES= JOBS= COUNT= SHAPE= KILL_LEADER=1)
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/bench-c1m ./e2e/benchc1m
	@$(BIN)/bench-c1m --drover $(BIN)/drover $(C1M_FLAGS)

bench-blocked: build ## measure what 10,000 jobs that fit nowhere cost the others (BLOCKED="--nodes 100 --blocked 1000 --for 10s")
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/bench-blocked ./e2e/benchblocked
	@$(BIN)/bench-blocked --drover $(BIN)/drover $(BLOCKED)

bench-api: deps-bench build ## measure registrations beside etcd, reads, 10,000 watchers, a restart with 1,000,000 allocs (API="--only reads --runs 1")
	@CGO_ENABLED=0 $(GO) build -o $(BIN)/bench-api ./e2e/benchapi
	@$(BIN)/bench-api --drover $(BIN)/drover $(API)

fmt: ## format the Go code
	gofmt -w $$(git ls-files '*.go')

clean: ## remove what was built
	rm -rf $(BIN)
