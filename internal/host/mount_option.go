package host

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrMountOption: a mount option that is not allowed here.
var ErrMountOption = errors.New("is not a mount option that can be used")

// MountOptions are options as mount(8) takes them, looked through. The zero
// value is none.
type MountOptions struct {
	set, clear uint64   // MOUNT_ATTR_ flags, which each mount has for itself
	data       []string // name or name=value, for the filesystem
}

// ReadOnly reports whether nothing can be written through the mount.
func (o MountOptions) ReadOnly() bool { return o.set&unix.MOUNT_ATTR_RDONLY != 0 }

// ForReading is o for a mount that nothing can be written through.
func (o MountOptions) ForReading() MountOptions {
	o.set |= unix.MOUNT_ATTR_RDONLY
	return o
}

// attributes are the options that a mount has for itself: what each sets, and
// what it ends.
var attributes = map[string]struct{ set, clear uint64 }{
	"defaults": {},
	"ro":       {set: unix.MOUNT_ATTR_RDONLY}, "rw": {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid": {set: unix.MOUNT_ATTR_NOSUID}, "suid": {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev": {set: unix.MOUNT_ATTR_NODEV}, "dev": {clear: unix.MOUNT_ATTR_NODEV},
	"noexec": {set: unix.MOUNT_ATTR_NOEXEC}, "exec": {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime": {set: unix.MOUNT_ATTR_NODIRATIME}, "diratime": {clear: unix.MOUNT_ATTR_NODIRATIME},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":    {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
}

// ofEach are what every filesystem takes.
var ofEach = []string{"sync", "dirsync", "lazytime", "context="}

// ofFilesystem are what each kind takes for itself; "=" is where a value is
// needed, "[=]" where one may be. Left out is what stops the machine on an error
// (errors=panic), names another device or a part of the filesystem (logdev,
// device, subvol, sb), turns off what keeps it whole when the power goes
// (nobarrier), or is for rescue and for developers. Names and values: Linux
// Documentation/admin-guide/ext4.rst and xfs.rst, and btrfs(5).
var ofFilesystem = map[string][]string{
	"ext4": {
		"auto_da_alloc", "noauto_da_alloc", "commit=", "data=", "delalloc", "nodelalloc", "discard", "nodiscard",
		"errors=continue", "errors=remount-ro", "init_itable[=]", "noinit_itable", "journal_checksum", "max_batch_time=", "min_batch_time=", "stripe=",
	},
	"xfs": {
		"allocsize=", "discard", "nodiscard", "filestreams", "inode32", "inode64", "largeio", "nolargeio", "logbsize=", "logbufs=",
		"noalign", "nouuid", "sunit=", "swalloc", "swidth=", "wsync",
	},
	"btrfs": {
		"autodefrag", "noautodefrag", "commit=", "compress[=]", "compress-force[=]", "datacow", "nodatacow", "datasum", "nodatasum",
		"discard[=]", "nodiscard", "flushoncommit", "noflushoncommit", "max_inline=", "notreelog", "ssd", "nossd", "ssd_spread", "space_cache=v2", "thread_pool=",
	},
}

// optionValue is what a value may be: no separator of options, nor a path.
var optionValue = regexp.MustCompile(`^[A-Za-z0-9_.:+-]{1,64}$`)

// optionContext is a label of SELinux. It has commas, and whoever joins options
// with commas puts it in quotes.
var optionContext = regexp.MustCompile(`^"?([A-Za-z0-9_.:,-]{1,255})"?$`)

// ParseMountOptions looks through options for a mount of that filesystem, or
// with fsType "" for one of a directory or a device that is there already, which
// only has what each mount has for itself. One that is not allowed is
// ErrMountOption, with those that are.
func ParseMountOptions(fsType string, options []string) (o MountOptions, err error) {
	for _, option := range options {
		if a, ok := attributes[option]; ok {
			o.set, o.clear = o.set&^a.clear|a.set, o.clear|a.clear
			continue
		}
		data, ok := "", false
		if fsType != "" {
			data, ok = fsOption(fsType, option)
		}
		if !ok {
			return MountOptions{}, fmt.Errorf("%q %w; allowed: %s", option, ErrMountOption, strings.Join(allowed(fsType), ", "))
		}
		o.data = append(o.data, data)
	}
	return o, nil
}

// OfMount are the options that each mount has for itself, of those for a mount
// of a filesystem.
func (o MountOptions) OfMount() MountOptions { return MountOptions{set: o.set, clear: o.clear} }

// fsOption is an option as the filesystem gets it; false where it may not.
func fsOption(fsType, option string) (string, bool) {
	name, value, given := strings.Cut(option, "=")
	if name == "context" {
		m := optionContext.FindStringSubmatch(value)
		if m == nil {
			return "", false
		}
		return "context=" + m[1], true
	}
	for _, a := range slices.Concat(ofEach, ofFilesystem[fsType]) {
		switch {
		case a == name+"=", a == name+"[=]" && given:
			if optionValue.MatchString(value) {
				return option, true
			}
		case a == option, a == name+"[=]":
			return option, true
		}
	}
	return "", false
}

func allowed(fsType string) []string {
	all := slices.Sorted(maps.Keys(attributes))
	if fsType != "" {
		all = slices.Concat(all, ofEach, ofFilesystem[fsType])
	}
	return all
}
