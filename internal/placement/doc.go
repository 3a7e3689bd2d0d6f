// Package placement is the controller's second job: it puts claims before the
// agents of the nodes that are to carve volumes for them.
//
// The scheduler writes the node that it has chosen onto a claim as an
// annotation. An agent can ask the API server for the claims with its own node's
// label, but not for an annotation, so the choice is copied into a label here.
// For classes that do not wait for a pod there is no scheduler, and the node
// with most room is chosen here, or one with about as much that the namespace had a
// moment ago. A choice of a node that is gone is taken back.
//
// It does not decide whether a claim fits: that is the agent's, beside the pool,
// which gives a claim back that does not. Nor does it know what a volume is.
package placement
