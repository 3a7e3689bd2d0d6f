// Package publish turns volumes into PersistentVolumes and back: it says what
// the object looks like, reads what the object says, and carries both to and
// from the API server; so with what a node has to do with claims, and the room
// that it says it has for them.
//
// It does not decide when a volume is published (package volume does), and it
// never looks at a disk.
package publish
