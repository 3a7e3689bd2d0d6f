// Command kubectl-berth is the kubectl plugin: `kubectl berth`. It runs on a
// person's machine and links no code that can write to a disk.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}
