// Package publish turns volumes into PersistentVolumes and back: it says what
// the object looks like, reads what the object says, and carries both to and
// from the API server.
//
// It does not decide when a volume is published (package volume does), and it
// never looks at a disk.
package publish
