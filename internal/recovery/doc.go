// Package recovery cleans up after nodes that are gone: it deletes the claims
// that are bound to their volumes, found or carved, so that the pods can be placed
// elsewhere, and the PersistentVolumes that nobody can use any more.
//
// It stands in for the established node clean-up controller, with the same
// flags and metrics. What it does is one decision a volume: Owner says which
// nodes a volume may be on, Judge whether those are gone, Decide what follows.
// The three are pure; the Controller gathers what they need and does what they
// say. One process does at a time, the one that holds a Lease.
//
// It touches no disk and no pod, and looks at local volumes and at
// those that Berth carved only. What such a node said of its room for the
// scheduler belongs to the Node object, and goes with it.
package recovery
