package disk

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Block is what sysfs says of a block device.
type Block struct {
	Name         string // the kernel's name, which may be another one after a reboot
	Major, Minor int
	SizeBytes    int64
	ReadOnly     bool
	Partition    bool
	PartUUID     string // of a partition, where the kernel tells it (Linux 6.9)
	Partitions   []string
	Holders      []string // device-mapper or md devices built on it
	WWID         string
	Serial       string
	Model        string
	DMUUID       string
	MDUUID       string
	LoopFile     string // the file behind a loop device
}

// ReadBlock reads what sysfs, below sys, says of the device major:minor.
func ReadBlock(sys fs.FS, major, minor int) (Block, error) {
	dir := fmt.Sprintf("sys/dev/block/%d:%d", major, minor)
	size, err := readInt(sys, path.Join(dir, "size"))
	if err != nil {
		return Block{}, fmt.Errorf("reading block device %d:%d: %w", major, minor, err)
	}
	b := Block{Major: major, Minor: minor, SizeBytes: size * 512}
	uevent := readKeys(sys, path.Join(dir, "uevent"))
	b.Name = uevent["DEVNAME"]
	b.PartUUID = uevent["PARTUUID"]
	b.Partition = uevent["DEVTYPE"] == "partition"
	b.ReadOnly = readText(sys, path.Join(dir, "ro")) == "1"
	b.Holders = names(sys, path.Join(dir, "holders"), func(string) bool { return true })
	b.Partitions = names(sys, dir, func(name string) bool {
		_, err := fs.Stat(sys, path.Join(dir, name, "partition"))
		return err == nil
	})
	b.WWID = first(sys, dir, "wwid", "device/wwid")
	b.Serial = first(sys, dir, "serial", "device/serial")
	b.Model = first(sys, dir, "device/model")
	b.DMUUID = readText(sys, path.Join(dir, "dm/uuid"))
	b.MDUUID = readText(sys, path.Join(dir, "md/uuid"))
	b.LoopFile = readText(sys, path.Join(dir, "loop/backing_file"))
	return b, nil
}

// Swapped reports whether the device is in use as swap space.
func (b Block) Swapped(sys fs.FS) bool {
	data, err := fs.ReadFile(sys, "proc/swaps")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "/dev/"+b.Name {
			return true
		}
	}
	return false
}

func names(sys fs.FS, dir string, want func(string) bool) []string {
	entries, err := fs.ReadDir(sys, dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if want(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out
}

func first(sys fs.FS, dir string, files ...string) string {
	for _, f := range files {
		if s := readText(sys, path.Join(dir, f)); s != "" {
			return s
		}
	}
	return ""
}

// readText returns a file's text without white space around it, "" when the
// file is not there: sysfs leaves out what a device does not have.
func readText(sys fs.FS, name string) string {
	data, err := fs.ReadFile(sys, name)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(bytes.Trim(data, "\x00")))
}

func readInt(sys fs.FS, name string) (int64, error) {
	data, err := fs.ReadFile(sys, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
}

func readKeys(sys fs.FS, name string) map[string]string {
	data, err := fs.ReadFile(sys, name)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			out[k] = v
		}
	}
	return out
}
