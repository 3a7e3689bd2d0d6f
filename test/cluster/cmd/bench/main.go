// Command bench measures Berth on a real cluster of its own, prints a table and
// writes it to bench/out/. Its exit status is 0 also when a limit is not met,
// and 1 when something could not be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/berth-storage/berth/test/cluster/bench"
	"github.com/berth-storage/berth/test/cluster/bench/hand"
)

func main() {
	if len(os.Args) > 1 && (os.Args[1] == handVerb || os.Args[1] == spinVerb) {
		inside(os.Args[1:])
		return
	}
	o := options{Options: bench.Options{Out: os.Stdout}}
	var only string
	flag.StringVar(&only, "only", "", "figures to measure, with commas between: "+strings.Join(bench.Names(), ", ")+" (default all)")
	flag.IntVar(&o.Rounds, "rounds", 3, "how often to measure; the median counts")
	flag.BoolVar(&o.Quick, "quick", false, "fewer volumes and shorter waits, to see that it works; the limits do not apply")
	flag.StringVar(&o.dir, "dir", "", "directory of the benchmark's own cluster (default bench/cluster in the repository)")
	flag.StringVar(&o.berth, "berth", "", "the berth program to measure (default: built from the repository)")
	flag.Parse()
	if only != "" {
		o.Only = strings.Split(only, ",")
	}
	if flag.NArg() > 0 || o.Rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The verbs by which the program starts itself: in the node, and as a load.
const (
	handVerb = "hand"
	spinVerb = "spin"
)

// inside is what the program is when it was started by itself. Either ends with
// its input.
func inside(args []string) {
	if args[0] == spinVerb {
		var ended atomic.Bool
		go func() {
			for !ended.Load() {
			}
		}()
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended.Store(true)
		return
	}
	if err := hand.Serve(hand.Place{Mounts: args[1], Work: args[2]}, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
