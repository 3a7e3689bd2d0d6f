package hand

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// Hand is the benchmark's side of a hand in a node.
type Hand struct {
	Place
	cmd *exec.Cmd
	in  io.WriteCloser
	err bytes.Buffer // what it says on its standard error

	mu      sync.Mutex // guards the conversation
	encoder *json.Encoder
	decoder *json.Decoder
}

// Run starts a hand: cmd runs Serve inside the node with the same place.
func Run(cmd *exec.Cmd, p Place) (*Hand, error) {
	h := &Hand{Place: p, cmd: cmd}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a hand in the node: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a hand in the node: %w", err)
	}
	cmd.Stderr = &h.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a hand in the node: %w", err)
	}
	h.in, h.encoder, h.decoder = in, json.NewEncoder(in), json.NewDecoder(out)
	return h, nil
}

// Do has a request done and returns what came of it.
func (h *Hand) Do(r Request) (Answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a Answer
	if err := h.encoder.Encode(r); err != nil {
		return a, fmt.Errorf("asking the hand in the node to %s: %w", r.Op, err)
	}
	if err := h.decoder.Decode(&a); err != nil {
		return a, fmt.Errorf("asking the hand in the node to %s: %w", r.Op, err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Close ends the hand, which takes away what it made.
func (h *Hand) Close() error {
	h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("ending the hand in the node: %w: %s", err, h.err.String())
	}
	return nil
}
