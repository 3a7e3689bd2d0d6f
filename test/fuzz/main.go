// Command fuzz runs every fuzz target of the module for a while:
//
//	go run ./test/fuzz [-for 30s] [packages]
//
// What plain `go test` does is to run their seeds. An input that fails is
// written by go to the package's testdata/fuzz, where plain `go test` finds it
// from then on.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	each := flag.Duration("for", 30*time.Second, "how long each target is run")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *each, packages); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run fuzzes the targets one after the other, as each uses all processors. It
// goes on after one that fails, and is an error when there is none at all.
func run(ctx context.Context, each time.Duration, packages []string) error {
	found, failed := 0, 0
	for _, p := range packages {
		names, err := list(ctx, p)
		if err != nil {
			return err
		}
		for pkg, targets := range names {
			for _, target := range targets {
				found++
				cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+target+"$", "-fuzztime="+each.String(), pkg)
				out, err := cmd.CombinedOutput()
				if ctx.Err() != nil {
					return ctx.Err()
				}
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				fmt.Printf("%s %s: %s\n", pkg, target, lines[len(lines)-1])
				if err != nil {
					failed++
					fmt.Println(string(out))
				}
			}
		}
	}
	switch {
	case found == 0:
		return fmt.Errorf("no fuzz targets in %s", strings.Join(packages, " "))
	case failed > 0:
		return fmt.Errorf("%d of %d fuzz targets failed", failed, found)
	}
	return nil
}

// list finds the fuzz targets of packages.
func list(ctx context.Context, pattern string) (map[string][]string, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-list=^Fuzz", pattern).Output()
	if err != nil {
		return nil, fmt.Errorf("listing fuzz targets: %w", err)
	}
	return targets(string(out)), nil
}

// targets reads what go test -list prints: the names, then a line "ok" with
// their package.
func targets(listing string) map[string][]string {
	all := map[string][]string{}
	var names []string
	for line := range strings.Lines(listing) {
		switch fields := strings.Fields(line); {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			if len(names) > 0 {
				all[fields[1]] = names
			}
			names = nil
		}
	}
	return all
}
