package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The parts of the protocol for network block devices that QEMU uses, after
// doc/proto.md of NetworkBlockDevice/nbd.
const (
	nbdMagic       = 0x4e42444d41474943 // NBDMAGIC
	nbdOption      = 0x49484156454f5054 // IHAVEOPT
	nbdOptionReply = 0x3e889045565a9
	nbdRequest     = 0x25609513
	nbdReply       = 0x67446698

	nbdFixedNewstyle = 1
	nbdNoZeroes      = 2

	nbdOptAbort, nbdOptGo                     = 2, 7
	nbdRepAck, nbdRepInfo, nbdRepErrUnsup     = 1, 3, 1<<31 + 1
	nbdInfoExport                             = 0
	nbdFlags                                  = 1 | 1<<2 | 1<<3 | 1<<5 | 1<<6 // with flush, FUA, trim and write zeroes
	nbdRead, nbdWrite, nbdDisconnect          = 0, 1, 2
	nbdFlush, nbdTrim, nbdWriteZeroes, nbdFUA = 3, 4, 6, 1
	nbdEIO, nbdEINVAL                         = 5, 22
	nbdLongest                                = 64 << 20 // bytes in one request
)

var errNBD = errors.New("serving a disk: QEMU speaks another protocol")

// serve answers QEMU on conn until it hangs up. When ctx ends, a disk that hangs
// does too.
func (s *store) serve(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	err := s.greet(conn)
	for err == nil {
		err = s.answer(ctx, conn)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func send(w io.Writer, fields ...any) error {
	var buf []byte
	for _, f := range fields {
		var err error
		if buf, err = binary.Append(buf, binary.BigEndian, f); err != nil {
			return err
		}
	}
	_, err := w.Write(buf)
	return err
}

func receive(r io.Reader, to any) error { return binary.Read(r, binary.BigEndian, to) }

// greet agrees on the options.
func (s *store) greet(conn io.ReadWriter) error {
	if err := send(conn, uint64(nbdMagic), uint64(nbdOption), uint16(nbdFixedNewstyle|nbdNoZeroes)); err != nil {
		return err
	}
	var flags uint32
	if err := receive(conn, &flags); err != nil {
		return err
	}
	if flags&nbdFixedNewstyle == 0 {
		return errNBD
	}
	for {
		var o struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := receive(conn, &o); err != nil {
			return err
		}
		if o.Magic != nbdOption || o.Length > 1<<16 {
			return errNBD
		}
		if _, err := io.CopyN(io.Discard, conn, int64(o.Length)); err != nil {
			return err
		}
		reply := func(kind uint32, data ...any) error {
			size := 0
			for _, d := range data {
				size += binary.Size(d)
			}
			return send(conn, append([]any{uint64(nbdOptionReply), o.Option, kind, uint32(size)}, data...)...)
		}
		switch o.Option {
		case nbdOptGo:
			if err := reply(nbdRepInfo, uint16(nbdInfoExport), uint64(s.size), uint16(nbdFlags)); err != nil {
				return err
			}
			return reply(nbdRepAck)
		case nbdOptAbort:
			_ = reply(nbdRepAck)
			return io.EOF
		default:
			if err := reply(nbdRepErrUnsup); err != nil {
				return err
			}
		}
	}
}

// answer does one request.
func (s *store) answer(ctx context.Context, conn io.ReadWriter) error {
	var r struct {
		Magic        uint32
		Flags, Type  uint16
		Cookie, From uint64
		Length       uint32
	}
	if err := receive(conn, &r); err != nil {
		return err
	}
	if r.Magic != nbdRequest {
		return errNBD
	}
	off, length := int64(r.From), int64(r.Length)
	var data []byte
	if r.Type == nbdRead || r.Type == nbdWrite {
		if length > nbdLongest {
			return fmt.Errorf("%w: %d bytes at once", errNBD, length)
		}
		data = make([]byte, length)
	}
	if r.Type == nbdWrite {
		if _, err := io.ReadFull(conn, data); err != nil {
			return err
		}
	}
	if err := s.inside(off, length); err != nil {
		return send(conn, uint32(nbdReply), uint32(nbdEINVAL), r.Cookie)
	}
	if r.Type == nbdDisconnect {
		return io.EOF
	}
	err := s.health.await(ctx)
	switch {
	case errors.Is(err, errSick):
		return send(conn, uint32(nbdReply), uint32(nbdEIO), r.Cookie)
	case err != nil:
		return io.EOF // QEMU has gone
	}
	switch r.Type {
	case nbdRead:
		_, err = s.ReadAt(data, off)
	case nbdWrite:
		err = s.write(data, off)
	case nbdFlush:
		err = s.flush()
	case nbdTrim: // after which anything may be read
	case nbdWriteZeroes:
		err = s.zero(off, length)
	default:
		return send(conn, uint32(nbdReply), uint32(nbdEINVAL), r.Cookie)
	}
	if err == nil && r.Flags&nbdFUA != 0 {
		err = s.flush()
	}
	if err != nil {
		return send(conn, uint32(nbdReply), uint32(nbdEIO), r.Cookie)
	}
	if r.Type != nbdRead {
		data = nil
	}
	return send(conn, uint32(nbdReply), uint32(0), r.Cookie, data)
}
