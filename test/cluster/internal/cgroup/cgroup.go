// Package cgroup makes and removes the cluster's folders in the cgroup
// hierarchies: version 1, version 2, and both together.
//
// It sets no limits; the kubelets do, below the folders made here.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Needed are the controllers that a kubelet cannot do without.
var Needed = []string{"cpu", "cpuset", "memory", "pids"}

// Hierarchy is one mounted hierarchy.
type Hierarchy struct {
	Path    string // where it is mounted
	Unified bool   // version 2
	// Controllers it has. A version 2 hierarchy beside version 1 ones may
	// have none.
	Controllers []string
}

// Hierarchies lists what is mounted.
func Hierarchies() ([]Hierarchy, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("reading mounts: %w", err)
	}
	defer f.Close()
	var found []Hierarchy
	seen := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || seen[fields[1]] {
			continue
		}
		h := Hierarchy{Path: fields[1], Unified: fields[2] == "cgroup2"}
		switch fields[2] {
		case "cgroup":
			h.Controllers = strings.Split(fields[3], ",")
		case "cgroup2":
			data, err := os.ReadFile(filepath.Join(h.Path, "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("reading cgroup controllers: %w", err)
			}
			h.Controllers = strings.Fields(string(data))
		default:
			continue
		}
		seen[h.Path] = true
		found = append(found, h)
	}
	return found, nil
}

// Missing are the needed controllers that no hierarchy has.
func Missing(hs []Hierarchy) []string {
	var missing []string
	for _, c := range Needed {
		if !slices.ContainsFunc(hs, func(h Hierarchy) bool { return slices.Contains(h.Controllers, c) }) {
			missing = append(missing, c)
		}
	}
	return missing
}

// ToEnable are the needed controllers that the root of a version 2 hierarchy
// has but does not hand down yet.
func ToEnable(hs []Hierarchy) ([]string, error) {
	var todo []string
	for _, h := range hs {
		if !h.Unified {
			continue
		}
		data, err := os.ReadFile(filepath.Join(h.Path, "cgroup.subtree_control"))
		if err != nil {
			return nil, fmt.Errorf("reading cgroup.subtree_control: %w", err)
		}
		on := strings.Fields(string(data))
		for _, c := range h.Controllers {
			if slices.Contains(Needed, c) && !slices.Contains(on, c) {
				todo = append(todo, c)
			}
		}
	}
	return todo, nil
}

// Switch turns controllers on ("+") or off ("-") in the root of the version 2
// hierarchy.
func Switch(hs []Hierarchy, sign string, controllers []string) error {
	for _, h := range hs {
		for _, c := range controllers {
			if !h.Unified || !slices.Contains(h.Controllers, c) {
				continue
			}
			if err := write(h.Path, "cgroup.subtree_control", sign+c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Make makes the folder, and its parents, in every hierarchy, ready for
// processes (leaf) or for further folders.
func Make(hs []Hierarchy, path string, leaf bool) error {
	parts := strings.Split(path, "/")
	for _, h := range hs {
		dir := h.Path
		for i, p := range parts {
			parent := dir
			dir = filepath.Join(dir, p)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making a cgroup: %w", err)
			}
			if err := prepare(h, parent, dir, leaf && i == len(parts)-1); err != nil {
				return err
			}
		}
	}
	return nil
}

func prepare(h Hierarchy, parent, dir string, leaf bool) error {
	if h.Unified {
		for _, c := range h.Controllers {
			if leaf || !slices.Contains(append([]string{"io"}, Needed...), c) {
				continue
			}
			if err := write(dir, "cgroup.subtree_control", "+"+c); err != nil && c != "io" {
				return err
			}
		}
		return nil
	}
	if !slices.Contains(h.Controllers, "cpuset") {
		return nil
	}
	// A new version 1 cpuset is empty, and takes no process before it is not.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return fmt.Errorf("reading a cgroup: %w", err)
		}
		if err := write(dir, file, strings.TrimSpace(string(data))); err != nil {
			return err
		}
	}
	return nil
}

// Enter moves the calling process into the folder.
func Enter(hs []Hierarchy, path string) error {
	for _, h := range hs {
		if err := write(filepath.Join(h.Path, path), "cgroup.procs", "0"); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes the folder and all below it from every hierarchy. The
// processes in it must be gone; the kernel may take a moment to see that.
func Remove(hs []Hierarchy, path string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for _, h := range hs {
		for {
			err := removeTree(filepath.Join(h.Path, path))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("removing a cgroup: %w", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(dir, file, value string) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
		return fmt.Errorf("writing a cgroup: %w", err)
	}
	return nil
}
