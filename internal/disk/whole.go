package disk

import (
	"fmt"
	"io/fs"
	"path"
)

// WholeDisk returns the kernel's name of the disk that the device major:minor
// is a partition of, or of the device itself where it is none: two devices with
// the same answer share a disk's heads and queues. What device-mapper, md or
// loop devices are built on is not looked for. Below sys it reads sysfs; where
// that does not know the device the answer is its number.
func WholeDisk(sys fs.FS, major, minor int) string {
	number := fmt.Sprintf("%d:%d", major, minor)
	dir := "sys/dev/block/" + number
	target, err := fs.ReadLink(sys, dir) // ../../devices/…/sda, or …/sda/sda1
	if err != nil {
		return number
	}
	if _, err := fs.Stat(sys, dir+"/partition"); err == nil {
		target = path.Dir(target)
	}
	return path.Base(target)
}

// MediumID returns the identity of the disk that the device major:minor is a
// partition of, or of the device itself where it is none; "" where sysfs does
// not tell one, or does not know the device (any more).
func MediumID(sys fs.FS, major, minor int) ID {
	b, err := ReadBlock(sys, major, minor)
	if err != nil {
		return ""
	}
	if !b.Partition {
		return b.ID()
	}
	number := readText(sys, path.Join("sys/block", WholeDisk(sys, major, minor), "dev"))
	if _, err := fmt.Sscanf(number, "%d:%d", &major, &minor); err != nil {
		return ""
	}
	b, _ = ReadBlock(sys, major, minor)
	return b.ID()
}

// SameNumber returns the names of the other disks of the machine that tell the
// same world wide name, or serial number and model, as b does. There should be
// none: such disks are two ways to one disk, or were given one number by their
// maker, as cheap USB bridges are. Devices on other devices are not looked at.
func SameNumber(sys fs.FS, b Block) []string {
	id := b.ID()
	if b.WWID == "" && b.Serial == "" || b.Partition || b.DMUUID != "" || b.MDUUID != "" {
		return nil
	}
	return names(sys, "sys/block", func(name string) bool {
		dir := path.Join("sys/block", name)
		if name == b.Name || readText(sys, path.Join(dir, "hidden")) == "1" { // one way of several, which the kernel joins
			return false
		}
		other := Block{WWID: first(sys, dir, "wwid", "device/wwid")}
		if other.WWID == "" && b.WWID == "" {
			other.Serial, other.Model = first(sys, dir, "serial", "device/serial"), first(sys, dir, "device/model")
		}
		return other.ID() == id
	})
}
