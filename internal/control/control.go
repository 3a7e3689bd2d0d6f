package control

import (
	"context"
	"errors"
	"path/filepath"
)

// socketName is the socket's name in the state directory.
const socketName = "agent.sock"

// SocketPath is where the agent with this state directory listens.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, socketName) }

// Volume is what a person is told of a volume.
type Volume struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Class    string `json:"class"`
	Entry    string `json:"entry"`    // name in the class's discovery directory, or in its pool
	Pool     string `json:"pool"`     // that it was carved out of; "" for a found volume
	Bytes    int64  `json:"bytes"`    // its size; 0 when that is not known now
	Identity string `json:"identity"` // as the journal knows it, or else as the disk has it
	Path     string `json:"path"`     // where its disk is now, as the node sees it, or what the kubelet calls it; "" when it is not there
	PV       string `json:"pv"`       // "" when there is none
	PVPhase  string `json:"pvPhase"`  // Available, Bound or Released
	Claim    string `json:"claim"`    // the last one, as NAMESPACE/NAME
	Reason   string `json:"reason"`   // why it is quarantined
	Asked    string `json:"asked"`    // the command that is under way
	AskedAt  string `json:"askedAt"`  // when it was given, in RFC 3339
}

// Request is a command over a quarantined volume.
type Request struct {
	Command string `json:"command"`         // release, republish or wipe
	Claim   string `json:"claim,omitempty"` // to republish for, as NAMESPACE/NAME; "" for the one that had it
	// Identity and Path are those that the person was shown. The command is
	// refused if they are others by now. Without Dry both are needed.
	Identity string `json:"identity"`
	Path     string `json:"path"`
	Dry      bool   `json:"dry"` // only say whether it would be obeyed
}

// The errors that the client tells apart, by the status of the answer.
var (
	ErrUnknown  = errors.New("no such volume")         // 404
	ErrRefused  = errors.New("refused")                // 409
	ErrNotReady = errors.New("the agent is not ready") // 503
)

// Agent is what answers.
type Agent interface {
	// Volumes returns all volumes of the node.
	Volumes() []Volume
	// Volume returns one, or ErrUnknown.
	Volume(id string) (Volume, error)
	// Ask gives a command. When it returns without error, the command is in the
	// journal and is carried out; with Dry it would be. The volume returned is
	// what the command is about. The error is one of those above.
	Ask(ctx context.Context, id string, r Request) (Volume, error)
}
