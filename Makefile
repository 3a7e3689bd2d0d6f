# Targets carry no logic: each calls one program or script.
.DEFAULT_GOAL := help
GO ?= go
# What `berth version` says; empty for what the Go tool knows.
VERSION ?=

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## Build berth and kubectl-berth into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

check: ## Check format, vet, staticcheck, generated files, import law and pure tests; under a minute
	$(GO) run ./test/check

test: ## Run every tier of tests: pure, script, root, vm, cluster; as root
	$(GO) run ./test/tiers

test-faults: ## Run the faults in full: 200 power cuts of the journal, 200 of the agent, a million files to wipe, the guarantees broken one by one, fuzzing; over an hour; as root
	BERTH_VM_CUTS=200 BERTH_WIPE_FILES=1000000 $(GO) run ./test/tiers root vm
	$(GO) run ./test/mutants
	$(GO) run ./test/fuzz

bench: ## Measure Berth on a real cluster; the figures go to bench/out/; as root
	$(GO) run -C test/cluster ./cmd/bench

demo: ## Start a real cluster with Berth on it and show its whole job; as root
	$(GO) run -C test/cluster ./cmd/cluster demo

up: ## Start the cluster with Berth and disks, without the story; as root
	$(GO) run -C test/cluster ./cmd/cluster up

down: ## Stop the cluster and leave nothing of it behind; as root
	$(GO) run -C test/cluster ./cmd/cluster down

fmt: ## Format the Go files
	gofmt -w api cmd deploy internal test

.PHONY: help build check test test-faults bench demo up down fmt
