package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/process"
)

// Main is the first process of a node. The line to the supervisor is file
// descriptor 3; when it closes, the node ends. It returns only on failure.
func Main(specFile string) error {
	line := os.NewFile(3, "supervisor")
	out := json.NewEncoder(line)
	n, err := begin(specFile)
	if err != nil {
		_ = out.Encode(Reply{Error: err.Error()})
		return err
	}
	if err := out.Encode(Reply{PID: n.pid}); err != nil {
		return fmt.Errorf("greeting the supervisor: %w", err)
	}
	return n.serve(json.NewDecoder(line), out)
}

type inside struct {
	spec  Spec
	pid   int // as the machine counts
	logs  map[string]*os.File
	group process.Group
}

// begin makes the caller's namespaces into those of a node.
func begin(specFile string) (*inside, error) {
	n := &inside{logs: map[string]*os.File{}}
	data, err := os.ReadFile(specFile)
	if err != nil {
		return nil, fmt.Errorf("reading the node's spec: %w", err)
	}
	if err := json.Unmarshal(data, &n.spec); err != nil {
		return nil, fmt.Errorf("reading the node's spec: %w", err)
	}
	// /proc is still the machine's, so the link names the machine's number.
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return nil, fmt.Errorf("finding the node's process: %w", err)
	}
	if n.pid, err = strconv.Atoi(self); err != nil {
		return nil, fmt.Errorf("finding the node's process: %w", err)
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return nil, err
	}
	if err := cgroup.Enter(hs, n.spec.Cgroup+"/system"); err != nil {
		return nil, err
	}
	// The logs are opened while the machine's directories are still in sight.
	for name := range components {
		if n.logs[name], err = process.OpenLog(n.spec.LogDir, n.spec.Name+"-"+name); err != nil {
			return nil, err
		}
	}
	if err := unix.Sethostname([]byte(n.spec.Name)); err != nil {
		return nil, fmt.Errorf("setting the host name: %w", err)
	}
	if err := makeRoot(n.spec); err != nil {
		return nil, err
	}
	ended := make(chan os.Signal, 16)
	signal.Notify(ended, syscall.SIGCHLD)
	go n.group.Reap(ended)
	return n, nil
}

// serve does what the supervisor asks, in order, until the line closes.
func (n *inside) serve(in *json.Decoder, out *json.Encoder) error {
	for {
		var r Request
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("listening to the supervisor: %w", err)
		}
		reply := Reply{}
		if err := n.do(r, &reply); err != nil {
			reply.Error = err.Error()
		}
		if err := out.Encode(reply); err != nil {
			return fmt.Errorf("answering the supervisor: %w", err)
		}
	}
}

func (n *inside) do(r Request, reply *Reply) error {
	switch r.Do {
	case DoNetwork:
		if err := link.Node(n.spec.Address, n.spec.Gateway); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return fmt.Errorf("switching forwarding on: %w", err)
		}
		return routes(n.spec.Routes)
	case DoRoutes:
		return routes(r.Routes)
	case DoStart:
		return n.start(r.Component)
	case DoMount:
		return mountDisk(r, reply)
	case DoUnmount:
		return unmountDisk(r)
	case DoLink:
		if err := os.MkdirAll(filepath.Dir(r.Target), 0o755); err != nil {
			return fmt.Errorf("linking a disk: %w", err)
		}
		// After a restart the device has another number.
		if err := os.Remove(r.Target); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("linking a disk: %w", err)
		}
		if err := os.Symlink(r.Source, r.Target); err != nil {
			return fmt.Errorf("linking a disk: %w", err)
		}
		reply.At = time.Now()
		return nil
	case DoUnlink:
		if err := os.Remove(r.Target); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unlinking a disk: %w", err)
		}
		return nil
	case DoStatus:
		reply.Status = n.group.Status()
		return nil
	}
	return fmt.Errorf("unknown request %q", r.Do)
}

func routes(rs map[string]string) error {
	for dst, via := range rs {
		if err := link.Route(dst, via); err != nil {
			return err
		}
	}
	return nil
}

// mountDisk mounts a disk on a mount point that it makes. The filesystem is
// opened first, so that whoever watches the directory does not see an empty
// mount point for as long as that takes.
func mountDisk(r Request, reply *Reply) error {
	fs, err := openFilesystem(r.Source, r.FS)
	if err != nil {
		return fmt.Errorf("mounting %s on %s: %w", r.Source, r.Target, err)
	}
	defer unix.Close(fs)
	if err := os.MkdirAll(r.Target, 0o755); err != nil {
		return fmt.Errorf("mounting %s: %w", r.Source, err)
	}
	if err := unix.MoveMount(fs, "", unix.AT_FDCWD, r.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", r.Source, r.Target, err)
	}
	reply.At = time.Now()
	return nil
}

// openFilesystem opens the filesystem on a device as a mount that is nowhere
// yet.
func openFilesystem(device, kind string) (mount int, err error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}

// unmountDisk unmounts and removes the empty mount point. Forced, the mount
// goes out of sight at once, as when a disk is pulled, and open files live on.
func unmountDisk(r Request) error {
	flags := 0
	if r.Force {
		flags = unix.MNT_DETACH
	}
	err := unix.Unmount(r.Target, flags)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting %s: %w", r.Target, err)
	}
	if err := unix.Rmdir(r.Target); err != nil && !errors.Is(err, unix.ENOENT) && !r.Force {
		return fmt.Errorf("removing the mount point %s: %w", r.Target, err)
	}
	return nil
}

// start starts one of the node's components.
func (n *inside) start(name string) error {
	args, ok := components[name]
	if !ok {
		return fmt.Errorf("starting %q: no such component", name)
	}
	return n.group.Start(process.Component{
		Name: name, Path: filepath.Join(ProgramDir, name), Args: args(n.spec), Env: environment,
		Log: n.logs[name],
	})
}
