package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// busy is ErrBusy with what holds the device of a descriptor, as far as that can
// be seen.
func busy(fd int) error {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return ErrBusy
	}
	sys := os.DirFS("/")
	var by []string
	if b, err := disk.ReadBlock(sys, int(unix.Major(st.Rdev)), int(unix.Minor(st.Rdev))); err == nil {
		by = usesOf(b)
		if b.Swapped(sys) {
			by = append(by, "it is swap space")
		}
		for _, name := range b.Partitions {
			major, minor, err := disk.DeviceOf(filepath.Join("/dev", name))
			if err != nil {
				continue
			}
			if part, err := disk.ReadBlock(sys, major, minor); err == nil {
				by = append(by, usesOf(part)...)
			}
		}
	}
	if openers, err := openersOf(st.Rdev, false); err == nil {
		for _, h := range openers[:min(len(openers), namedHolders)] {
			by = append(by, h.String())
		}
	}
	if len(by) == 0 {
		return fmt.Errorf("%w: what holds it cannot be seen from here, it may be mounted in another mount namespace", ErrBusy)
	}
	return fmt.Errorf("%w: %s", ErrBusy, strings.Join(by, ", "))
}

// usesOf says what is built on the device, and where it is mounted.
func usesOf(b disk.Block) (by []string) {
	for _, name := range b.Holders {
		by = append(by, fmt.Sprintf("%s is built on %s", name, b.Name))
	}
	mounts, err := disk.ReadMounts(os.DirFS("/"))
	if err != nil {
		return by
	}
	for _, m := range mounts.OfDevice(b.Major, b.Minor) {
		by = append(by, fmt.Sprintf("%s is mounted at %q", b.Name, m.Point))
	}
	return by
}

// notWritten returns ErrBusy with the names of the processes that have the device
// open for writing: an exclusive open keeps out neither them nor their writes.
// Those that read, as udev does after each change, do it no harm.
func notWritten(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	writers, err := openersOf(st.Rdev, true)
	if err != nil {
		return err
	}
	return held(writers)
}

// openersOf lists the processes that have the device open.
func openersOf(rdev uint64, writing bool) ([]Holder, error) {
	return eachOpened(func(o opened) bool {
		return o.Mode&unix.S_IFMT == unix.S_IFBLK && unix.Mkdev(o.Rdev_major, o.Rdev_minor) == rdev &&
			(!writing || o.writes())
	})
}

// writes says whether the descriptor takes writes.
func (o opened) writes() bool {
	info, err := os.ReadFile(filepath.Join(o.dir, "fdinfo", filepath.Base(o.link)))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		var flags int
		if n, _ := fmt.Sscanf(line, "flags: %o", &flags); n == 1 {
			return flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}
