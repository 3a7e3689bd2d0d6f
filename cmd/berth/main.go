// Command berth is Berth's program on a node and in the cluster.
//
// This package is wiring only: it turns a command line into calls of the
// packages under internal and an error into an exit status. It decides nothing
// about disks or volumes.
package main

import (
	"fmt"
	"os"
)

func main() {
	cmd := root()
	cmd.SetArgs(established(os.Args[0], os.Args[1:], os.Getenv))
	if err := cmd.Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}
