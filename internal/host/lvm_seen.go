package host

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A headerSum tells whether a volume group has changed: each change writes, on
// all its disks, another place and checksum of the metadata into the header of
// their area.
type headerSum [sha256.Size]byte

// headerBytes reach over a disk's label and the header of its first metadata
// area, where LVM puts it unless it is told otherwise.
const headerBytes = 8192

// headerMagic is at headerMagicAt: mda_header in LVM's lib/format_text/layout.h.
const (
	headerMagic   = " LVM2 x[5A%r0N*>"
	headerMagicAt = 4096 + 4
)

// errNoHeader: the metadata are elsewhere.
var errNoHeader = errors.New("it has no header of LVM's metadata at the usual place")

// readHeaders sums up the headers on these disks. They are read from the disks
// and not from the page cache, which LVM's tools do not use.
func readHeaders(disks []PhysicalVolume) (sum headerSum, err error) {
	h := sha256.New()
	err = Aligned(headerBytes, func(buf []byte) error {
		for _, d := range disks {
			if err := readHeader(d.Name, buf); err != nil {
				return fmt.Errorf("reading the LVM header of %s: %w", d.Name, err)
			}
			if string(buf[headerMagicAt:headerMagicAt+len(headerMagic)]) != headerMagic {
				return fmt.Errorf("reading the LVM header of %s: %w", d.Name, errNoHeader)
			}
			h.Write(buf)
		}
		return nil
	})
	return headerSum(h.Sum(nil)), err
}

func readHeader(path string, buf []byte) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(buf, 0)
	return err
}
