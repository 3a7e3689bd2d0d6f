package host

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountOptions(t *testing.T) {
	for _, c := range []struct {
		fsType, options string // separated by spaces
		set             uint64
		data            string
	}{
		{"", "", 0, ""},
		{"", "defaults ro noexec", unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC, ""},
		{"", "ro rw", 0, ""},
		{"", "noatime strictatime", unix.MOUNT_ATTR_STRICTATIME, ""},
		{"", "noatime relatime nodev", unix.MOUNT_ATTR_NODEV, ""},
		{"ext4", "noatime discard commit=30 errors=remount-ro", unix.MOUNT_ATTR_NOATIME, "discard commit=30 errors=remount-ro"},
		{"xfs", "nouuid logbsize=256k sync", 0, "nouuid logbsize=256k sync"},
		{"btrfs", "compress compress-force=zstd:3 discard=async", 0, "compress compress-force=zstd:3 discard=async"},
		{"ext4", `context="system_u:object_r:container_file_t:s0:c1,c2"`, 0, "context=system_u:object_r:container_file_t:s0:c1,c2"},
	} {
		o, err := ParseMountOptions(c.fsType, strings.Fields(c.options))
		if err != nil || o.set != c.set || !slices.Equal(o.data, strings.Fields(c.data)) {
			t.Errorf("%s %q: %+v (%v)", c.fsType, c.options, o, err)
		}
	}
}

func TestMountOptionsRefused(t *testing.T) {
	for _, c := range [][2]string{
		{"", "discard"}, {"", "context=a"}, {"", "bind"}, {"", "remount"}, {"", ""}, {"", "RO"}, {"", "ro,suid"},
		{"ext4", "errors=panic"}, {"ext4", "nobarrier"}, {"ext4", "barrier=0"}, {"ext4", "journal_path=/dev/sda"}, {"ext4", "nouuid"}, {"ext4", "commit"},
		{"ext4", "commit="}, {"ext4", "commit=1,errors=panic"}, {"ext4", "discard=1"}, {"ext4", "data=/dev/sda"}, {"ext4", "discard,errors=panic"},
		{"xfs", "logdev=/dev/sda"}, {"xfs", "rtdev=/dev/sda"}, {"btrfs", "device=/dev/sda"}, {"btrfs", "subvol=x"}, {"btrfs", "rescue=all"},
		{"xfs", `context=a" b`}, {"xfs", "context="},
	} {
		o, err := ParseMountOptions(c[0], []string{c[1]})
		if !errors.Is(err, ErrMountOption) || !strings.Contains(err.Error(), "noatime") {
			t.Errorf("%q %q: %+v (%v); want %v, and what is allowed", c[0], c[1], o, err, ErrMountOption)
		}
	}
}
