// Package berthtest has tests of Berth on a real cluster and nothing else: what
// users see of its volumes when disks, nodes, agents and people do what they do.
// What can be shown without Kubernetes is tested beside the agent's packages.
//
// All tests of one run share a cluster, and leave it as they found it.
package berthtest
