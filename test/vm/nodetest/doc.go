// Package nodetest has the tests of the whole agent in a whole machine: `berth
// agent` runs in a machine of package vm, which loses its power, its disks and
// their health, against a real API server, controller manager and etcd outside,
// which lose nothing.
//
// The tests are the user of the volumes. What binds and releases them is
// Kubernetes' own volume controller; there is no kubelet and there are no pods,
// and the agent has all rights: those are for the tests in test/cluster, which
// have no machines to lose.
//
// They need root, which the control plane does.
package nodetest
