package hand

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// group is a memory control group of one process and those that it starts; ""
// for none.
type group string

// Where groups are made, and what tells the most that was charged to one: in
// cgroup v1's own hierarchy for memory, else in v2's.
const (
	groupsV1, peakV1 = "/sys/fs/cgroup/memory", "memory.max_usage_in_bytes"
	groupsV2, peakV2 = "/sys/fs/cgroup", "memory.peak"
)

// newGroup makes a group and puts a process into it.
func newGroup(pid int) (g group, err error) {
	home := groupsV1
	if _, err := os.Stat(filepath.Join(home, "cgroup.procs")); errors.Is(err, fs.ErrNotExist) {
		home = groupsV2
	}
	g = group(filepath.Join(home, "berth-bench-"+strconv.Itoa(pid)))
	if err = os.Mkdir(string(g), 0o755); err == nil {
		err = os.WriteFile(filepath.Join(string(g), "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
	}
	if err != nil {
		return g, fmt.Errorf("making the agent's memory group: %w", err)
	}
	return g, nil
}

// peak is the most that was charged to it, in bytes.
func (g group) peak() (int64, error) {
	file := peakV2
	if strings.HasPrefix(string(g), groupsV1+"/") {
		file = peakV1
	}
	text, err := os.ReadFile(filepath.Join(string(g), file))
	if err != nil {
		return 0, fmt.Errorf("reading what the agent's memory group has used: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// remove takes it away; its processes have ended.
func (g group) remove() error {
	if g == "" {
		return nil
	}
	if err := os.Remove(string(g)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the agent's memory group: %w", err)
	}
	return nil
}
