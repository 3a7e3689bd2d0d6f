// Package csi serves the Container Storage Interface over a node's pools:
// identity, controller and node services of CSI 1.x, by gRPC on a socket.
//
// It translates requests and errors, and holds no state: what volumes there are
// the pools know, what is mounted the kernel knows. Which claim gets a volume,
// and when one is released, is decided elsewhere.
package csi
