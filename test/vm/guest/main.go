// Command guest is the first process of the machine that package vm starts: it
// comes up from the initial RAM disk, makes the root filesystem and the devices
// ready, and then runs what the host asks for. It knows nothing of tests.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/vm/internal/tunnel"
	"github.com/berth-storage/berth/test/vm/internal/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest is the first process of a test machine, and nothing else")
		os.Exit(2)
	}
	err := serve()
	fmt.Println("guest:", err) // on the console, which the host keeps
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// serve returns only with an error, or when the host wants the machine off.
func serve() error {
	if err := enterRoot(); err != nil {
		return err
	}
	if err := startDevices(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	s := &server{out: wire.NewSender(port), running: map[int]*exec.Cmd{}}
	s.tunnel = tunnel.New(func(id int, p wire.Part) error { return s.out.Send(wire.Answer{ID: id, Part: &p}) })
	if err := s.out.Send(wire.Answer{Up: true}); err != nil {
		return err
	}
	for requests := json.NewDecoder(port); ; {
		var r wire.Request
		if err := requests.Decode(&r); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		switch {
		case r.Off:
			unix.Sync()
			return errors.New("the host wants the machine off")
		case r.Kill:
			s.kill(r.ID)
		case r.Run != nil:
			s.start(r.ID, *r.Run)
		case r.Part != nil:
			s.tunnel.Take(r.ID, *r.Part)
		case r.Listen != "":
			if err := s.listen(r.Listen); err != nil {
				return err
			}
		}
	}
}

type server struct {
	out    *wire.Sender
	tunnel *tunnel.Tunnel

	mu      sync.Mutex // guards the rest
	running map[int]*exec.Cmd
	carried int // how many connections there were
}

// stream sends what a command writes.
type stream struct {
	send func([]byte) error
}

func (s stream) Write(p []byte) (int, error) { return len(p), s.send(p) }

func (s *server) start(id int, c wire.Command) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	cmd.Stdout = stream{func(p []byte) error { return s.out.Send(wire.Answer{ID: id, Output: p}) }}
	cmd.Stderr = stream{func(p []byte) error { return s.out.Send(wire.Answer{ID: id, Error: p}) }}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second // for output that a process left behind holds open
	if err := cmd.Start(); err != nil {
		_ = s.out.Send(wire.Answer{ID: id, Ended: true, Status: -1, Why: err.Error()})
		return
	}
	s.mu.Lock()
	s.running[id] = cmd
	s.mu.Unlock()
	go func() {
		_ = cmd.Wait() // the status says it
		s.mu.Lock()
		delete(s.running, id)
		s.mu.Unlock()
		_ = s.out.Send(wire.Answer{ID: id, Ended: true, Status: cmd.ProcessState.ExitCode()})
	}()
}

func (s *server) kill(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cmd := s.running[id]; cmd != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

// rootPatience is how long the disks may take to be found. The kernel of an
// emulated machine under load needs seconds.
const rootPatience = 2 * time.Minute

// enterRoot mounts the root filesystem and makes it this process's root. The
// host's files go with it.
func enterRoot() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := mount(m[0], m[0], m[1]); err != nil {
			return err
		}
	}
	device, err := eventually("finding the root disk", func() (string, bool) {
		serials, _ := filepath.Glob("/sys/block/nvme*/device/serial")
		for _, file := range serials {
			if data, _ := os.ReadFile(file); strings.TrimSpace(string(data)) == wire.RootSerial {
				name := strings.Split(file, "/")[3]
				_, err := os.Stat("/dev/" + name)
				return "/dev/" + name, err == nil
			}
		}
		return "", false
	})
	if err != nil {
		return err
	}
	if err := mount("ext4", device, "/root"); err != nil {
		return err
	}
	if err := unix.Mount(wire.Files, mkdir("/root"+wire.Files), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the host's files: %w", err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(dir, mkdir("/root"+dir), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("moving %s: %w", dir, err)
		}
	}
	if err := os.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root filesystem: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("entering the root filesystem: %w", err)
	}
	for _, dir := range []string{"/run", "/tmp"} {
		if err := mount("tmpfs", "tmpfs", dir); err != nil {
			return err
		}
	}
	return os.Chdir("/")
}

// udevadm stands before the command of that name. The daemon (systemd 252,
// udev-ctrl.c) hangs up on who speaks in the moment between its accept and its
// wish to be told who that is, which an emulated machine makes a long one. All
// that the command does can be done again.
const udevadm = `#!/bin/sh
for again in 1 2 3 4; do /usr/bin/udevadm "$@" 2>/dev/null && exit; done
exec /usr/bin/udevadm "$@"
`

// startDevices starts udev, so that modules are loaded and links are made as on
// a real machine. The devices without disks are left alone: their modules would
// double the time.
func startDevices() error {
	for name, value := range map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TMPDIR": "/tmp", "LANG": "C.UTF-8",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/usr/local/sbin/udevadm", []byte(udevadm), 0o755); err != nil {
		return fmt.Errorf("standing before udevadm: %w", err)
	}
	for _, args := range [][]string{
		{"/lib/systemd/systemd-udevd", "--daemon"},
		{"modprobe", "-a", "virtio_pci", "virtio_console"}, // udev hears of what these find
		{"udevadm", "trigger", "--action=add", "--subsystem-match=block", "--subsystem-match=scsi"},
		{"udevadm", "settle"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("running %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}

// openPort opens the serial port to the host.
func openPort() (io.ReadWriter, error) {
	path, err := eventually("finding the port to the host", func() (string, bool) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, file := range names {
			if data, _ := os.ReadFile(file); strings.TrimSpace(string(data)) == wire.Port {
				path := "/dev/" + filepath.Base(filepath.Dir(file))
				_, err := os.Stat(path)
				return path, err == nil
			}
		}
		return "", false
	})
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// eventually waits for what the kernel finds in its own time, and does not tell
// a process without udev about.
func eventually(what string, found func() (string, bool)) (string, error) {
	for deadline := time.Now().Add(rootPatience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if path, ok := found(); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not within %s", what, rootPatience)
}

func mount(kind, source, dir string) error {
	if err := unix.Mount(source, mkdir(dir), kind, 0, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source, dir, err)
	}
	return nil
}

// mkdir leaves errors to whoever uses the directory.
func mkdir(dir string) string {
	_ = os.MkdirAll(dir, 0o755)
	return dir
}
