package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/wipe"
)

// cleaner is a method of `berth clean`.
type cleaner struct {
	names  []string // the first is the proper one
	method wipe.Method
	passes int // how many when none are given; 0 for a method without passes
	short  string
}

var cleaners = []cleaner{
	{[]string{"signatures", "quick-reset"}, wipe.MethodSignatures, 0, "what tells of a filesystem or partitions; leaves what the device does not discard"},
	{[]string{"shred"}, wipe.MethodShred, config.DefaultShredPasses, "random bytes, PASSES times (default 3), then zeros"},
	{[]string{"zero"}, wipe.MethodZero, 1, "zeros, PASSES times (default 1)"},
	{[]string{"erase"}, wipe.MethodDiscard, 0, "a discard where that leaves zeros, else zeros"},
	{[]string{"nvme-format"}, wipe.MethodFormat, 0, "an NVMe disk's own command, then as erase; fails where the disk cannot"},
	{[]string{"contents"}, wipe.MethodContents, 0, "everything in the directory"},
}

// maxPasses keeps a slip of the finger from wiping for months.
const maxPasses = 100

func cleanCommand() *cobra.Command {
	var methods strings.Builder
	for _, c := range cleaners {
		fmt.Fprintf(&methods, "  %-24s %s\n", strings.Join(c.names, ", "), c.short)
	}
	return &cobra.Command{
		Use:   "clean METHOD [PASSES]",
		Short: "Erase a volume, as a class's command does, and verify that",
		Long: `Clean erases the block device at the path in the environment variable
` + api.EnvDevice + `, or empties the mounted directory at the path in
` + api.EnvFilesystem + `, and reads back what it wrote. What is mounted or otherwise
in use is refused. Where ` + api.EnvIdentity + ` is set, nothing that has another
identity is written to. It ends with status 1 unless all went well.

Methods:
` + methods.String(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, passes, err := parseClean(args)
			if err != nil {
				return fmt.Errorf("%w\nSee %q", err, cmd.CommandPath()+" --help")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return clean(ctx, c, passes, func(format string, args ...any) {
				// Nobody may listen; the exit status says what counts.
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
			})
		},
	}
}

// parseClean reads METHOD [PASSES].
func parseClean(args []string) (c cleaner, passes int, err error) {
	if len(args) == 0 || len(args) > 2 {
		return c, 0, fmt.Errorf("found %d arguments; allowed: METHOD [PASSES]", len(args))
	}
	var all []string
	for _, c := range cleaners {
		for _, name := range c.names {
			all = append(all, name)
			if name != args[0] {
				continue
			}
			if len(args) == 1 {
				return c, c.passes, nil
			}
			if c.passes == 0 {
				return c, 0, fmt.Errorf("found passes %q with method %s, which has none", args[1], name)
			}
			passes, err := strconv.Atoi(args[1])
			if err != nil || passes < 1 || passes > maxPasses {
				return c, 0, fmt.Errorf("found %q passes; allowed: a whole number from 1 to %d", args[1], maxPasses)
			}
			return c, passes, nil
		}
	}
	return c, 0, fmt.Errorf("found method %q; allowed: %s", args[0], strings.Join(all, ", "))
}

// say prints a line for a person.
type say func(format string, args ...any)

func clean(ctx context.Context, c cleaner, passes int, say say) error {
	variable, run := api.EnvDevice, cleanDevice
	if c.method == wipe.MethodContents {
		variable, run = api.EnvFilesystem, cleanDirectory
	}
	path := os.Getenv(variable)
	if path == "" {
		return fmt.Errorf("found no path in the environment variable %s; it says what to erase", variable)
	}
	result, err := run(ctx, path, wipe.BlockOptions{Method: c.method, Passes: passes}, say)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s=%s: stopped before the end, so it does not count as erased: %w", variable, path, err)
	case err != nil:
		return fmt.Errorf("%s=%s: %w", variable, path, err)
	}
	say("%s: done in %.1fs, method %s: %s erased, %s read back, %d entries removed",
		path, result.Duration.Seconds(), result.Method, wipe.Bytes(result.Bytes), wipe.Bytes(result.Verified), result.Entries)
	return nil
}

// proveIdentity returns an error unless now is the identity that the environment
// asks for. One that names a place says nothing of what is there.
func proveIdentity(now disk.ID, say say) error {
	want := disk.ID(os.Getenv(api.EnvIdentity))
	switch {
	case want == "":
		return nil
	case want.Weak():
		say("%s=%s names a place, not what is there: not compared", api.EnvIdentity, want)
		return nil
	}
	return want.Expect(now)
}
