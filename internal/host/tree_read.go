package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// An Entry is one name in a directory: any bytes but "/" and NUL.
type Entry struct {
	Name string
	// Dir is what the directory says the entry is. A filesystem may not say,
	// and it may change at any moment.
	Dir bool
}

// Directory entries are read in batches of this many bytes: at most 680 names.
const batchBytes = 16 << 10

var batches = sync.Pool{New: func() any { b := make([]byte, batchBytes); return &b }}

// Rewind makes Next begin anew.
func (t *Tree) Rewind(d *Dir) error {
	if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return fmt.Errorf("rewinding %q: %w", d.Path(), err)
	}
	return nil
}

// Next returns the next batch of d's entries, in no order, and nothing at the
// end.
func (t *Tree) Next(d *Dir) ([]Entry, error) {
	buf := batches.Get().(*[]byte)
	defer batches.Put(buf)
	for {
		n, err := again(func() (int, error) { return unix.Getdents(d.fd, *buf) })
		if err != nil {
			return nil, fmt.Errorf("reading directory %q: %w", d.Path(), err)
		}
		if n == 0 {
			return nil, nil
		}
		entries, err := parse((*buf)[:n])
		if err != nil {
			return nil, fmt.Errorf("reading directory %q: %w", d.Path(), err)
		}
		if len(entries) > 0 { // else it was only "." and ".."
			return entries, nil
		}
	}
}

// parse decodes what getdents64(2) returns: structs of an inode number (8
// bytes), an offset (8), the struct's length (2), a type (1) and a name that
// ends with a NUL.
func parse(buf []byte) ([]Entry, error) {
	const nameAt = 19
	var entries []Entry
	for len(buf) > 0 {
		if len(buf) < nameAt {
			return nil, unix.EBADMSG
		}
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length < nameAt || length > len(buf) {
			return nil, unix.EBADMSG
		}
		name := buf[nameAt:length]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if s := string(name); s != "." && s != ".." {
			entries = append(entries, Entry{Name: s, Dir: buf[18] == unix.DT_DIR})
		}
		buf = buf[length:]
	}
	return entries, nil
}

// Owner returns whose d is.
func (t *Tree) Owner(d *Dir) (disk.Owner, error) {
	owner, err := disk.OwnerOfFD(d.fd)
	if err != nil {
		return disk.Owner{}, fmt.Errorf("%q: %w", d.Path(), err)
	}
	return owner, nil
}

// Xattrs lists the names of d's extended attributes, POSIX ACLs among them.
// A filesystem without extended attributes has none.
func (t *Tree) Xattrs(d *Dir) ([]string, error) {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX, the longest list Linux gives
	n, err := unix.Flistxattr(d.fd, buf)
	if err == unix.EOPNOTSUPP {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing extended attributes of %q: %w", d.Path(), err)
	}
	names := strings.Split(string(buf[:n]), "\x00")
	return names[:len(names)-1], nil
}
