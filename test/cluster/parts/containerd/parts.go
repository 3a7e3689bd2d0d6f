//go:build parts

// Package parts names the containerd programs that the cluster builds, so that
// go.mod keeps what they need. It is never compiled.
package parts

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
