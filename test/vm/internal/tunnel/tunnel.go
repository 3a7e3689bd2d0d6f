// Package tunnel carries TCP connections over the serial port between a machine
// and the host, so that a machine without a network can reach one server.
//
// It is for little traffic: all connections share the port, and one that is not
// read from stops the others.
package tunnel

import (
	"net"
	"sync"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// Tunnel is one side's end of all carried connections.
type Tunnel struct {
	send    func(id int, p wire.Part) error
	running sync.WaitGroup

	mu     sync.Mutex // guards the rest
	ends   map[int]*end
	closed bool
}

// end is one connection on this side.
type end struct {
	in   chan []byte
	over chan struct{} // closed when nothing more is to be carried
	once sync.Once
}

func (e *end) stop() { e.once.Do(func() { close(e.over) }) }

// waiting is how many parts of a connection may wait to be written to it.
const waiting = 256

// partBytes is how much is read at once.
const partBytes = 16 << 10

// New returns a tunnel whose parts send passes to the other side.
func New(send func(id int, p wire.Part) error) *Tunnel {
	return &Tunnel{send: send, ends: map[int]*end{}}
}

// Carry carries the connection that open returns, under a number that both
// sides know it by. It does not wait; what comes before open has returned is
// kept.
func (t *Tunnel) Carry(id int, open func() (net.Conn, error)) {
	e := &end{in: make(chan []byte, waiting), over: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		e.stop()
	}
	t.ends[id] = e
	t.running.Go(func() {
		if conn, err := open(); err == nil {
			t.carry(id, e, conn)
		}
		t.mu.Lock()
		delete(t.ends, id)
		t.mu.Unlock()
		_ = t.send(id, wire.Part{End: true}) // if it fails, the other side is gone
	})
}

func (t *Tunnel) carry(id int, e *end, conn net.Conn) {
	var reading sync.WaitGroup
	reading.Go(func() {
		defer e.stop()
		for buf := make([]byte, partBytes); ; {
			n, err := conn.Read(buf)
			if n > 0 && t.send(id, wire.Part{Data: buf[:n]}) != nil || err != nil {
				return
			}
		}
	})
	defer reading.Wait()
	defer conn.Close()
	defer e.stop()
	for {
		select {
		case data := <-e.in:
			if _, err := conn.Write(data); err != nil {
				return
			}
		case <-e.over:
			for { // what came before the end
				select {
				case data := <-e.in:
					if _, err := conn.Write(data); err != nil {
						return
					}
				default:
					return
				}
			}
		}
	}
}

// Take takes in what the other side has sent, which does not open a connection.
func (t *Tunnel) Take(id int, p wire.Part) {
	t.mu.Lock()
	e := t.ends[id]
	t.mu.Unlock()
	if e == nil {
		return // it has ended here already
	}
	if len(p.Data) > 0 {
		select {
		case e.in <- p.Data:
		case <-e.over:
		}
	}
	if p.End {
		e.stop()
	}
}

// Close ends all connections and waits for them.
func (t *Tunnel) Close() {
	t.mu.Lock()
	t.closed = true
	for _, e := range t.ends {
		e.stop()
	}
	t.mu.Unlock()
	t.running.Wait()
}
