# Targets carry no logic: each calls one program or script.
.DEFAULT_GOAL := help
GO ?= go

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## Build berth and kubectl-berth into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/ ./cmd/...

.PHONY: help build
