// Command check is what `make check` calls: the checks of a change that need
// neither root nor a cluster, in under a minute, for use while working.
//
//	go run ./test/check
//
// It formats nothing and generates nothing: it says what to run. The import
// law is among the pure tests.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// tags are all build tags of tests, so that their files are checked as well.
const tags = "-tags=script,root,vm,cluster"

var steps = []step{
	{name: "format", args: []string{"gofmt", "-l", "api", "cmd", "deploy", "internal", "test"}, silent: true, hint: "make fmt"},
	{name: "vet", args: []string{"go", "vet", tags, "./..."}},
	{name: "vet cluster", args: []string{"go", "vet", "-C", "test/cluster", tags, "./..."}, needs: "test/cluster/go.mod"},
	{name: "staticcheck", args: []string{"go", "tool", "-modfile=tools/go.mod", "staticcheck", tags, "./..."}},
	{name: "staticcheck cluster", args: []string{"go", "tool", "-C", "test/cluster", "-modfile=../../tools/go.mod", "staticcheck", tags, "./..."}, needs: "test/cluster/go.mod"},
	{name: "generated files", args: []string{"go", "run", "./deploy/gen", "-check"}, needs: "deploy/gen", hint: "go run ./deploy/gen"},
	{name: "pure tests", args: []string{"go", "run", "./test/tiers", "pure"}},
}

func main() {
	// As test/tiers has it, or all would be compiled a second time.
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := 0
	for _, s := range steps {
		if !s.run(ctx, os.Stdout) {
			failed++
		}
	}
	if failed > 0 {
		fmt.Printf("%d of %d checks failed\n", failed, len(steps))
		os.Exit(1)
	}
	fmt.Printf("%d checks passed\n", len(steps))
}
