package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
)

func (a *app) image() *cobra.Command {
	root := &cobra.Command{Use: "image", Short: "Build Berth's image, or load one"}
	build := &cobra.Command{
		Use: "build", Short: "Build Berth's image from the work tree, load it and replace the agents",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			digest, err := c.LoadBerth(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s %s\n", cluster.BerthImage, digest)
			return c.InstallBerth(cmd.Context())
		},
	}
	load := &cobra.Command{
		Use: "load NAME ARCHIVE", Short: "Give an image in an archive, as docker save writes it, to all nodes",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			return c.LoadImage(cmd.Context(), args[0], args[1])
		},
	}
	root.AddCommand(build, load)
	return root
}

func (a *app) build() *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build all parts that are not cached, and start nothing",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cluster.Build(cmd.Context(), a.out)
		},
	}
}
