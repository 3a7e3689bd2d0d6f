// Package control carries a person's questions and commands to the agent of a
// node: HTTP and JSON over a unix socket in the agent's state directory. Only
// the user who runs the agent gets an answer, and nothing of it is on the
// network.
//
// The package decides nothing, and touches no disk and no journal: the server
// hands each request to the agent, and the client is for cmd/berth.
//
//	GET  /v1/volumes       all volumes
//	GET  /v1/volumes/ID    one
//	POST /v1/volumes/ID    a command over it, see Request
package control
