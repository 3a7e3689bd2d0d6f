package disk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MarkXattr is the extended attribute of a volume's directory in which Berth
// keeps what it knows of the volume. Only a process with CAP_SYS_ADMIN sees one
// of the trusted kind, so no tenant can take it off (xattr(7)).
const MarkXattr = "trusted.berth"

// XattrOfFD returns the value of an extended attribute of an open directory,
// nil when it has none of that name or its filesystem has none at all.
func XattrOfFD(fd int, name string) ([]byte, error) {
	buf := make([]byte, 1024) // more than Berth's own have
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		switch err {
		case nil:
			return buf[:n], nil
		case unix.ENODATA, unix.EOPNOTSUPP:
			return nil, nil
		case unix.ERANGE:
			if len(buf) < 64<<10 { // XATTR_SIZE_MAX, the longest that Linux has
				buf = make([]byte, 64<<10)
				continue
			}
		}
		return nil, fmt.Errorf("reading extended attribute %q: %w", name, err)
	}
}
