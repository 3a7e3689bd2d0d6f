package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/test/cluster"
)

func (a *app) status() *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use: "status", Short: "Show components, nodes and disks",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.attach()
			if err != nil {
				return err
			}
			st, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			switch format {
			case "json":
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "  ")
				return enc.Encode(st)
			case "":
				return show(a.out, c, st)
			}
			return fmt.Errorf("unknown format %q: allowed is json", format)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "", "json")
	return cmd
}

func show(out io.Writer, c *cluster.Cluster, st *cluster.Status) error {
	fmt.Fprintf(out, "%s\nexport KUBECONFIG=%s\n", st.Phase, c.Kubeconfig())
	if st.Error != "" {
		fmt.Fprintln(out, st.Error)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\nCOMPONENT\tPID\tRESTARTS\tLAST EXIT")
	for _, x := range st.Components {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", x.Name, x.PID, x.Restarts, x.LastExit)
	}
	for _, n := range st.Nodes {
		for _, x := range n.Components {
			fmt.Fprintf(w, "%s-%s\t%d\t%d\t%s\n", n.Name, x.Name, x.PID, x.Restarts, x.LastExit)
		}
	}
	fmt.Fprintln(w, "\nNODE\tSTATUS\tADDRESS\tDISKS")
	for _, n := range st.Nodes {
		var disks []string
		for _, d := range n.Disks {
			disks = append(disks, fmt.Sprintf("%s (%s, %d MiB, %s)", d.Name, d.FS, d.Bytes>>20, d.Loop))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, n.Status, n.Address, strings.Join(disks, ", "))
	}
	return w.Flush()
}

func (a *app) logs() *cobra.Command {
	return &cobra.Command{
		Use: "logs [COMPONENT]", Short: "Print a component's log, or list them",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := a.path()
			if err != nil {
				return err
			}
			// A start that failed has no cluster to attach to, but logs.
			dir = filepath.Join(dir, "logs")
			if len(args) == 0 {
				entries, err := os.ReadDir(dir)
				if err != nil {
					return fmt.Errorf("listing logs: %w", err)
				}
				var names []string
				for _, e := range entries {
					names = append(names, strings.TrimSuffix(e.Name(), ".log"))
				}
				sort.Strings(names)
				fmt.Fprintln(a.out, strings.Join(names, "\n"))
				return nil
			}
			f, err := os.Open(filepath.Join(dir, filepath.Base(args[0])+".log"))
			if err != nil {
				return fmt.Errorf("reading the log: %w", err)
			}
			defer f.Close()
			_, err = io.Copy(a.out, f)
			return err
		},
	}
}
