package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
)

func (a *app) node() *cobra.Command {
	root := &cobra.Command{Use: "node", Short: "Stop, start, restart, lose or add nodes"}
	verb := func(use, short string, do func(context.Context, *cluster.Node) error) *cobra.Command {
		return &cobra.Command{
			Use: use + " NODE", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.attach()
				if err != nil {
					return err
				}
				return do(cmd.Context(), c.Node(args[0]))
			},
		}
	}
	keep := false
	lose := verb("lose", "Take a node away for good; its Node object stays", func(ctx context.Context, n *cluster.Node) error {
		return n.Lose(ctx, keep)
	})
	lose.Flags().BoolVar(&keep, "keep-disks", false, "keep its disks for a node added under the same name")
	root.AddCommand(
		verb("stop", "Cut a node's power: kubelet, containerd and pods end at once", func(ctx context.Context, n *cluster.Node) error {
			return n.Stop(ctx)
		}),
		verb("start", "Start a stopped node and wait until it is Ready", func(ctx context.Context, n *cluster.Node) error {
			return errors.Join(n.Start(ctx), n.WaitReady(ctx))
		}),
		verb("restart", "Stop and start a node", func(ctx context.Context, n *cluster.Node) error {
			return n.Restart(ctx)
		}),
		lose, a.nodeAdd(),
	)
	return root
}

func (a *app) nodeAdd() *cobra.Command {
	bare := false
	cmd := &cobra.Command{
		Use: "add [NODE]", Short: "Add a node and wait until it is Ready",
		Long: "Add a node and wait until it is Ready. Under the name of a lost node, it has the disks that were kept.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			disks := cluster.DefaultDisks
			if bare {
				disks = nil
			}
			n, err := c.AddNode(cmd.Context(), strings.Join(args, ""), disks...)
			if err == nil {
				fmt.Fprintln(a.out, n.Name)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&bare, "no-disks", false, "give it no disks")
	return cmd
}

func (a *app) disk() *cobra.Command {
	root := &cobra.Command{Use: "disk", Short: "Add or remove a node's disks"}
	d, size := cluster.Disk{}, ""
	add := &cobra.Command{
		Use: "add NODE", Short: "Add a disk: mounted at " + cluster.DisksDir + "/NAME, or linked at " + cluster.BlocksDir + "/NAME",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if d.Bytes, err = parseSize(size); err != nil {
				return err
			}
			c, err := a.attach()
			if err != nil {
				return err
			}
			device, _, err := c.Node(args[0]).AddDisk(cmd.Context(), d)
			if err == nil {
				fmt.Fprintln(a.out, device)
			}
			return err
		},
	}
	add.Flags().StringVar(&d.Name, "name", "", "the disk's name")
	add.Flags().StringVar(&d.FS, "fs", "ext4", "ext4, xfs, btrfs, or none for a block device")
	add.Flags().BoolVar(&d.Pool, "pool", false, "mount it at "+cluster.PoolsDir+"/NAME")
	add.Flags().StringVar(&size, "size", "512Mi", "its size, in bytes or with Ki, Mi, Gi")
	_ = add.MarkFlagRequired("name")
	force, keep := false, false
	remove := &cobra.Command{
		Use: "remove NODE NAME", Short: "Remove a disk", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			var how []cluster.RemoveOption
			if force {
				how = append(how, cluster.Force)
			}
			if keep {
				how = append(how, cluster.KeepData)
			}
			return c.Node(args[0]).RemoveDisk(cmd.Context(), args[1], how...)
		},
	}
	remove.Flags().BoolVar(&force, "force", false, "also when it is in use, as if it were pulled")
	remove.Flags().BoolVar(&keep, "keep", false, "keep what is on it for a disk added under the same name")
	root.AddCommand(add, remove)
	return root
}

// parseSize reads a number of bytes with a binary suffix, as Kubernetes writes
// it.
func parseSize(s string) (int64, error) {
	m := regexp.MustCompile(`^(\d+)(Ki|Mi|Gi|)$`).FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("reading size %q: a number of bytes is wanted, or one with Ki, Mi or Gi", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 40)
	if err != nil {
		return 0, fmt.Errorf("reading size %q: %w", s, err)
	}
	return n << map[string]int{"": 0, "Ki": 10, "Mi": 20, "Gi": 30}[m[2]], nil
}

func (a *app) exec() *cobra.Command {
	return &cobra.Command{
		Use: "exec NODE -- COMMAND [ARG]…", Short: "Run a command inside a node",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			inside, err := c.Node(args[0]).Command(cmd.Context(), args[1:]...)
			if err != nil {
				return err
			}
			inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
			err = inside.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				os.Exit(exit.ExitCode()) // as ssh does
			}
			return err
		},
	}
}
