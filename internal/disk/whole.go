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
