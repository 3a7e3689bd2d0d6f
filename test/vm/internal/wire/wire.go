// Package wire is what the host and the program in the machine say to each
// other over a virtual serial port: one JSON object a line, both ways. It runs
// nothing.
package wire

import (
	"encoding/json"
	"io"
	"sync"
)

// Port is the name of the serial port in the machine.
const Port = "berth.vm"

// RootSerial is the serial number of the disk with the machine's root
// filesystem.
const RootSerial = "BERTH-ROOT"

// Files is the directory in the machine where the host's files are.
const Files = "/host"

// Request is what the host asks for. Exactly one field beside ID is set.
type Request struct {
	ID  int      `json:"id"`
	Run *Command `json:"run,omitempty"`
	// Kill ends the command of that ID.
	Kill bool `json:"kill,omitempty"`
	// Off writes out what is in the page cache and turns the machine off.
	Off bool `json:"off,omitempty"`
	// Listen has connections to that address in the machine carried to the host.
	Listen string `json:"listen,omitempty"`
	// Part is of the carried connection of that ID.
	Part *Part `json:"part,omitempty"`
}

// Command is a program to run in the machine.
type Command struct {
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"` // added to the machine's own
	Dir  string   `json:"dir,omitempty"`
}

// Part is a piece of a carried connection.
type Part struct {
	Open string `json:"open,omitempty"` // it is new, and this is the address in the machine
	Data []byte `json:"data,omitempty"`
	End  bool   `json:"end,omitempty"` // nothing follows, either way
}

// Answer is what the machine says: that it is up, what a command wrote or how
// it ended, or a part of a carried connection, whose IDs are not those of
// commands.
type Answer struct {
	ID     int    `json:"id,omitempty"`
	Up     bool   `json:"up,omitempty"`
	Output []byte `json:"output,omitempty"`
	Error  []byte `json:"error,omitempty"` // written to standard error
	Ended  bool   `json:"ended,omitempty"`
	Status int    `json:"status,omitempty"` // -1 when it was killed or could not be started
	Why    string `json:"why,omitempty"`    // it could not be started
	Part   *Part  `json:"part,omitempty"`
}

// Sender writes messages from several goroutines.
type Sender struct {
	mu sync.Mutex // held while a message is written
	w  *json.Encoder
}

// NewSender sends to w.
func NewSender(w io.Writer) *Sender { return &Sender{w: json.NewEncoder(w)} }

// Send writes one message.
func (s *Sender) Send(message any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Encode(message)
}
