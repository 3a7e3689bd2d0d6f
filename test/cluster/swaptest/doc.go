// Package swaptest has tests of Berth in the place of the established static
// provisioner and nothing else: its manifests with another image, its
// PersistentVolumes, on a real cluster. What agents do that are installed from
// the chart is in package berthtest.
//
// All tests of one run share a cluster, and leave it as they found it.
package swaptest
