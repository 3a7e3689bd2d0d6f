// Package job wipes a block device in a Kubernetes Job on its node: it builds
// the Job, follows it to its end, and takes it away.
//
// It does not decide whether a device may be wiped, nor when a failed wipe is
// tried again; the agent does. It proves no identity either: the program in the
// Job does, where it is Berth's own. Its rights are on Jobs alone, so that why
// one has failed is taken from its conditions, and not from its pods.
package job
