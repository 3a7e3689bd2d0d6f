package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// listen has connections to an address of the machine carried to the host.
func (s *server) listen(address string) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening for the host: %w", err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				fmt.Println("guest: listening for the host:", err)
				return
			}
			s.mu.Lock()
			s.carried++
			id := s.carried
			s.mu.Unlock()
			s.tunnel.Carry(id, func() (net.Conn, error) {
				return conn, s.out.Send(wire.Answer{ID: id, Part: &wire.Part{Open: address}})
			})
		}
	}()
	return nil
}

// loopbackUp switches the loopback device on, which gives it its address.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("switching on loopback: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("switching on loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("switching on loopback: %w", err)
	}
	return nil
}
