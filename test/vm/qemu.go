package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/vm/internal/wire"
)

// qemu is the process that is a machine.
type qemu struct {
	cmd     *exec.Cmd
	console *tail
	ended   chan error // gets how it ended
}

// consoleBytes is how much of the end of the console's output is kept.
const consoleBytes = 16 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards data
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - consoleBytes; extra > 0 {
		t.data = t.data[extra:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}

// on starts the machine and returns when it is up. One that hangs in its kernel,
// as one of some sixty did, is switched off and on again, once.
func (m *Machine) on(ctx context.Context, order []string) error {
	err := m.start(ctx, order)
	if errors.Is(err, errHung) {
		fmt.Fprintln(os.Stderr, "switching the machine off and on again:", err)
		err = m.start(ctx, order)
	}
	return err
}

// bootCPU is the processor time after which a machine that is not up has hung. A
// boot takes a tenth of it.
const bootCPU = 2 * time.Minute

var errHung = fmt.Errorf("it has used %s of processor time", bootCPU)

func (m *Machine) start(ctx context.Context, order []string) error {
	err := m.launch(ctx, order)
	if err == nil {
		if err = m.wait(ctx); err == nil {
			return m.listen()
		}
	}
	var console fmt.Stringer = &tail{}
	if m.qemu != nil {
		console = m.qemu.console
	}
	err = errors.Join(err, m.off())
	return fmt.Errorf("booting the machine: %w\n%s", err, console)
}

// wait returns when the machine is up, or will not be.
func (m *Machine) wait(ctx context.Context) (err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for err == nil {
		select {
		case <-m.guest.up:
			return nil
		case <-m.guest.off:
			err = ErrOff
		case <-ctx.Done():
			err = ctx.Err()
		case <-tick.C:
			var used time.Duration
			if used, err = m.qemu.used(); err == nil && used > bootCPU {
				err = errHung
			}
		}
	}
	return fmt.Errorf("it did not come up: %w", err)
}

// used is the processor time that the process has had.
func (q *qemu) used() (time.Duration, error) {
	p, err := procfs.NewProc(q.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	s, err := p.Stat()
	return time.Duration(s.CPUTime() * float64(time.Second)), err
}

// listen has the machine take connections for the host.
func (m *Machine) listen() error {
	for address := range m.forward {
		if err := m.guest.out.Send(wire.Request{Listen: address}); err != nil {
			return errors.Join(fmt.Errorf("forwarding %s: %w", address, ErrOff), m.off())
		}
	}
	return nil
}

func (m *Machine) launch(ctx context.Context, order []string) error {
	initrd, err := newInitrd(m.binary, m.files)
	if err != nil {
		return err
	}
	p := &process{args: m.system.args()}
	defer p.close()
	p.args = append(p.args, "-initrd", "/dev/fd/"+p.give(initrd))
	agent, err := p.connect()
	if err != nil {
		return err
	}
	p.args = append(p.args, "-chardev", "socket,id=agent,fd="+p.last(), "-device", "virtserialport,chardev=agent,name="+wire.Port)
	control, err := p.connect()
	if err != nil {
		return err
	}
	p.args = append(p.args, "-chardev", "socket,id=qmp,fd="+p.last(), "-mon", "chardev=qmp,mode=control")
	var plugged []*attached
	defer func() {
		if m.qemu == nil {
			for _, d := range plugged {
				d.slot = -1
			}
		}
	}()
	var conns []*net.UnixConn
	for slot, serial := range order {
		d, err := m.disk(serial)
		if err != nil {
			return err
		}
		if slot >= slots {
			return fmt.Errorf("there are %d slots for disks", slots)
		}
		conn, err := p.connect()
		if err != nil {
			return err
		}
		d.slot = slot
		plugged, conns = append(plugged, d), append(conns, conn)
		p.object("-blockdev", d.block(p.last()))
		if d.Kind == SCSI {
			p.object("-device", d.controller())
		}
		p.object("-device", d.device())
	}
	if m.qemu, err = p.start(); err != nil {
		return err
	}
	p.ours = nil // from now on they end with QEMU
	for i, d := range plugged {
		d.serve(conns[i])
	}
	m.guest = newGuest(agent, m.forward)
	m.monitor, err = newMonitor(ctx, control)
	return err
}

// fasterBoot leaves out what a machine that lives for seconds has no use for,
// and what takes long where every instruction is emulated: half a second of five.
// With norandmaps a program lies at the same addresses each time, so that QEMU
// need not translate it anew: one of LVM's tools takes 0.2 s, and took 0.45 s.
const fasterBoot = "mitigations=off cryptomgr.notests no_timer_check tsc=reliable nokaslr norandmaps audit=0"

// fasterCPU has no erms, with which kernel and libraries copy and clear byte by
// byte, each a step of the emulator's: writing 6.7 s takes 1.6 s without.
const fasterCPU = "max,-erms"

// args describe the machine itself.
func (s system) args() []string {
	args := []string{
		"-nodefaults", "-display", "none", "-no-user-config", "-no-reboot",
		"-accel", "tcg,thread=multi", "-cpu", fasterCPU, "-smp", "2", "-M", "q35", "-m", "1024",
		"-kernel", s.kernel, "-append", "console=ttyS0 quiet panic=-1 " + fasterBoot,
		"-serial", "stdio", "-device", "virtio-serial-pci",
		"-drive", "file=" + s.root + ",if=none,id=root,format=raw,snapshot=on",
		"-device", "nvme,drive=root,serial=" + wire.RootSerial,
	}
	for slot := range slots {
		args = append(args, "-device", fmt.Sprintf("pcie-root-port,id=slot%d,chassis=%d", slot, slot+1))
	}
	return args
}

// process is a QEMU to be started, with the files that it gets.
type process struct {
	args   []string
	theirs []*os.File
	ours   []*net.UnixConn // the other ends
	err    error
}

// give has QEMU get an open file, and returns its number there.
func (p *process) give(f *os.File) string {
	p.theirs = append(p.theirs, f)
	return p.last()
}

// last is the number of the file given last: the first is 3, as in exec.Cmd.
func (p *process) last() string { return fmt.Sprint(len(p.theirs) + 2) }

// connect has QEMU get one end of a new connection, and returns the other.
func (p *process) connect() (*net.UnixConn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	p.ours = append(p.ours, ours)
	p.give(theirs)
	return ours, nil
}

func (p *process) object(option string, value map[string]any) {
	data, err := json.Marshal(value)
	p.err = errors.Join(p.err, err)
	p.args = append(p.args, option, string(data))
}

func (p *process) close() {
	for _, f := range p.theirs {
		f.Close()
	}
	for _, c := range p.ours {
		c.Close()
	}
}

func (p *process) start() (*qemu, error) {
	if p.err != nil {
		return nil, p.err
	}
	q := &qemu{console: &tail{}, ended: make(chan error, 1)}
	// The machine is shared with whoever waits for something.
	q.cmd = exec.Command("nice", append([]string{"-n", "10", "qemu-system-x86_64"}, p.args...)...)
	q.cmd.Stdout, q.cmd.Stderr = q.console, q.console
	q.cmd.ExtraFiles = p.theirs
	// It must not outlive the test, whatever ends that.
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := q.cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w; `go run -C test/cluster ./cmd/cluster packages --vm` installs it", err)
		}
		return nil, err
	}
	go func() { q.ended <- q.cmd.Wait() }()
	return q, nil
}

// kill ends the process, if it has not ended, and waits for it.
func (q *qemu) kill() error {
	if err := q.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending QEMU: %w", err)
	}
	var exit *exec.ExitError
	if err := <-q.ended; err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("ending QEMU: %w", err)
	}
	return nil
}

// socketPair is a connection without a name: the end for QEMU is a file.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a connection to QEMU: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "theirs")
	f := os.NewFile(uintptr(fds[0]), "ours")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("making a connection to QEMU: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}
