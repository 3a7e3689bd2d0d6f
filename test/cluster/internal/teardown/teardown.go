// Package teardown takes a cluster away, whatever is left of it: from the
// record, and from what carries the cluster's mark on the machine. It can be
// interrupted and run again; the record goes last.
//
// It asks nothing of the supervisor, and touches nothing that it cannot prove
// to be this cluster's.
package teardown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/loop"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// patience is how long the kernel may take over each step.
const patience = 30 * time.Second

// contents are the names that a cluster makes in its directory. Nothing else
// is removed there.
var contents = []string{
	"bin", "disks", "etcd", "images", "kubeconfig", "logs", "nodes", "pki", "helm", "tmp",
	"supervisor.sock", "lock", state.File + ".new", state.File,
}

// Alias marks the cluster's network device.
func Alias(id string) string { return "berth cluster " + id }

// Down removes the cluster in dir; state.ErrNone if there is none. Directories
// that hold anything else are kept, with that in them.
func Down(dir string) error {
	s, err := state.Load(dir)
	if errors.Is(err, state.ErrNone) {
		return errors.Join(removeEmpty(dir), state.ErrNone)
	}
	if err != nil {
		return err
	}
	// An `up` still under way would go on making things.
	if s.Launcher.PID != os.Getpid() {
		if err := s.Launcher.Kill(patience); err != nil {
			return err
		}
		// It may have recorded more before it ended.
		if s, err = state.Load(dir); err != nil {
			return err
		}
	}
	// All other processes of the cluster are in the supervisor's PID namespace
	// and end with it; so do their mounts and network namespaces.
	if err := s.Supervisor.Kill(patience); err != nil {
		return err
	}
	if s, err = state.Load(dir); err != nil {
		return err
	}
	return clean(s)
}

// clean removes what outlives the processes.
func clean(s *state.State) error {
	if err := link.Remove(s.Link, Alias(s.ID)); err != nil {
		return err
	}
	devices, err := loop.Under(s.Dir)
	if err != nil {
		return err
	}
	for dev, file := range devices {
		if err := loop.Detach(dev, file, patience); err != nil {
			return err
		}
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Remove(hs, s.Cgroup, patience); err != nil {
		return err
	}
	if err := release(hs, s.Enabled); err != nil {
		return err
	}
	if err := checkMounts(s.Dir); err != nil {
		return err
	}
	return removeContents(s.Dir)
}

// release switches the controllers off that were switched on for the cluster,
// unless something else uses them by now.
func release(hs []cgroup.Hierarchy, controllers []string) error {
	err := cgroup.Switch(hs, "-", controllers)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return err
}

// checkMounts refuses to remove a directory that something is mounted in: the
// cluster mounts nothing on the machine, so it is somebody else's.
func checkMounts(dir string) error {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("reading mounts: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			return fmt.Errorf("removing %s: something else is mounted on %s; unmount it first", dir, f[1])
		}
	}
	return nil
}

// removeContents removes what a cluster makes in its directory, the record
// last, and the directory if it is empty then.
func removeContents(dir string) error {
	for _, name := range contents {
		if err := RemoveTree(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing the cluster's files: %w", err)
		}
	}
	return rmdir(dir)
}

func rmdir(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing the cluster's directory: %w", err)
	}
	return nil
}

// first are the names that can be in the directory before the record is.
var first = []string{"lock", state.File + ".new"}

// CheckEmpty says whether a cluster may be made in dir: a directory with other
// things in it would lose those that have the names a cluster uses.
func CheckEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the cluster's directory: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains(first, e.Name()) {
			return fmt.Errorf("making a cluster in %s: it holds %s, which is not a cluster's; choose another directory", dir, e.Name())
		}
	}
	return nil
}

// removeEmpty removes what a start leaves that is killed before its record is
// there, and nothing if there is anything else.
func removeEmpty(dir string) error {
	if CheckEmpty(dir) != nil {
		return nil
	}
	for _, name := range first {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the cluster's files: %w", err)
		}
	}
	return rmdir(dir)
}
