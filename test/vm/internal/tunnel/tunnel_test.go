package tunnel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// join returns two tunnels that are each other's other side.
func join() (a, b *Tunnel) {
	a = New(func(id int, p wire.Part) error { b.Take(id, clone(p)); return nil })
	b = New(func(id int, p wire.Part) error { a.Take(id, clone(p)); return nil })
	return a, b
}

// clone is what a message does: it has its own bytes.
func clone(p wire.Part) wire.Part {
	p.Data = bytes.Clone(p.Data)
	return p
}

func TestCarries(t *testing.T) {
	a, b := join()
	client, near := net.Pipe()
	far, server := net.Pipe()
	b.Carry(1, func() (net.Conn, error) { return far, nil })
	a.Carry(1, func() (net.Conn, error) { return near, nil })
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		_, _ = client.Write(sent) // what is missing is seen at the other end
		client.Close()
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came through: %v", len(got), len(sent), err)
	}
	a.Close()
	b.Close()
}

func TestNobodyAtTheOtherEnd(t *testing.T) {
	a, b := join()
	client, near := net.Pipe()
	a.Carry(1, func() (net.Conn, error) { return near, nil })
	b.Carry(1, func() (net.Conn, error) { return nil, errors.New("nobody listens") })
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("read something from nobody")
	}
	a.Close()
	b.Close()
}

// TestCloseEndsConnections: none outlives its tunnel, also one that was opened
// too late.
func TestCloseEndsConnections(t *testing.T) {
	a := New(func(int, wire.Part) error { return nil })
	client, near := net.Pipe()
	a.Carry(1, func() (net.Conn, error) { return near, nil })
	a.Close()
	late, nearLate := net.Pipe()
	a.Carry(2, func() (net.Conn, error) { return nearLate, nil })
	for _, c := range []net.Conn{client, late} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("reading from a connection after its tunnel was closed: %v", err)
		}
	}
}
