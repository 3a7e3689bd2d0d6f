package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// monitor is QEMU's control connection. It belongs to one goroutine.
type monitor struct {
	conn   *net.UnixConn
	in     *json.Decoder
	events []event
}

type event struct {
	Name string `json:"event"`
	Data struct {
		Device string `json:"device"`
	} `json:"data"`
}

type qmpMessage struct {
	event
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

func newMonitor(ctx context.Context, conn *net.UnixConn) (*monitor, error) {
	m := &monitor{conn: conn, in: json.NewDecoder(conn)}
	return m, m.do(ctx, "qmp_capabilities", nil)
}

// bound makes reads and writes end with ctx. The function that it returns ends
// that.
func (m *monitor) bound(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Now()) })
	return func() { stop() }
}

// do runs a command and waits for its answer.
func (m *monitor) do(ctx context.Context, command string, args map[string]any) error {
	return m.pass(ctx, nil, command, args)
}

// pass is do with an open file for QEMU.
func (m *monitor) pass(ctx context.Context, file *os.File, command string, args map[string]any) error {
	defer m.bound(ctx)()
	call := map[string]any{"execute": command}
	if args != nil {
		call["arguments"] = args
	}
	data, err := json.Marshal(call)
	if err != nil {
		return fmt.Errorf("asking QEMU for %s: %w", command, err)
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := m.conn.WriteMsgUnix(append(data, '\n'), rights, nil); err != nil {
		return fmt.Errorf("asking QEMU for %s: %w", command, errors.Join(err, ctx.Err()))
	}
	for {
		var got qmpMessage
		if err := m.in.Decode(&got); err != nil {
			return fmt.Errorf("waiting for QEMU's answer to %s: %w", command, errors.Join(err, ctx.Err()))
		}
		switch {
		case got.Error != nil:
			return fmt.Errorf("asking QEMU for %s: %s", command, got.Error.Desc)
		case got.Return != nil:
			return nil
		case got.Name != "":
			m.events = append(m.events, got.event)
		}
	}
}

// gone waits until the machine has let go of a device.
func (m *monitor) gone(ctx context.Context, device string) error {
	defer m.bound(ctx)()
	for {
		for i, e := range m.events {
			if e.Name == "DEVICE_DELETED" && e.Data.Device == device {
				m.events = m.events[i+1:]
				return nil
			}
		}
		var got qmpMessage
		if err := m.in.Decode(&got); err != nil {
			return fmt.Errorf("waiting for the machine to let go of %s: %w", device, errors.Join(err, ctx.Err()))
		}
		if got.Name != "" {
			m.events = append(m.events, got.event)
		}
	}
}
