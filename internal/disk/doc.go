// Package disk reads facts about block devices, mounts and filesystems: from
// sysfs and mountinfo (any fs.FS, so that a captured machine can stand in),
// from signatures on a device, and from a path or an open descriptor.
//
// It does not judge (package inventory does), and it never writes.
package disk
