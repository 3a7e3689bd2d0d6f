// Package agent is the node loop: it joins discovery, the decision what to do
// with each volume, and the doing.
//
//	events → discover → inspect → reconcile (gather, decide, act) → report
//
// It decides nothing about a volume itself (package volume does), and touches
// disks only through package host and wipe. It looks after one node.
package agent
