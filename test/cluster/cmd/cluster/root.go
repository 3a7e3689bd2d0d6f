package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/supervisor"
)

// app is what all verbs share.
type app struct {
	out io.Writer
	dir string // --dir; empty for .cluster in the repository
}

func newCommand(out io.Writer) *cobra.Command {
	a := &app{out: out}
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "A real Kubernetes on this machine, for Berth's demo and tests",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.PersistentFlags().StringVar(&a.dir, "dir", "", "directory of the cluster (default .cluster in the repository)")
	root.AddCommand(a.packages(), a.debian(), a.build(), a.up(), a.demo(), a.down(), a.status(), a.logs(), a.node(), a.disk(), a.image(), a.exec(), supervise(), nodeInit())
	return root
}

// path is the cluster's directory.
func (a *app) path() (string, error) {
	if a.dir != "" {
		return filepath.Abs(a.dir)
	}
	root, err := cluster.FindRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cluster"), nil
}

func (a *app) attach() (*cluster.Cluster, error) {
	dir, err := a.path()
	if err != nil {
		return nil, err
	}
	c, err := cluster.Attach(dir)
	if errors.Is(err, cluster.ErrNone) {
		return nil, fmt.Errorf("finding a cluster in %s: %w; start one with `cluster up`", dir, err)
	}
	return c, err
}

func (a *app) down() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the cluster and remove all that it made, also after an interruption",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.path()
			if err != nil {
				return err
			}
			err = cluster.Down(dir)
			if errors.Is(err, cluster.ErrNone) {
				fmt.Fprintf(a.out, "no cluster in %s\n", dir)
				return nil
			}
			if err == nil {
				fmt.Fprintln(a.out, "the cluster is gone")
			}
			return err
		},
	}
}

// supervise and nodeInit are the processes of a cluster, started by others.
func supervise() *cobra.Command {
	return &cobra.Command{
		Use: "supervise DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return supervisor.Main(args[0]) },
	}
}

func nodeInit() *cobra.Command {
	return &cobra.Command{
		Use: "node-init SPEC", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return node.Main(args[0]) },
	}
}
