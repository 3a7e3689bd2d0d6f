package supervisor

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/test/cluster/internal/cgroup"
	"github.com/berth-storage/berth/test/cluster/internal/link"
	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/process"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// spawn starts the first process of a node and joins its network.
func (s *Supervisor) spawn(n state.Node) (*life, error) {
	spec, err := s.writeSpec(n)
	if err != nil {
		return nil, err
	}
	cg := s.state.Cgroup + "/" + n.Name
	if err := cgroup.Make(s.cgroups, cg, false); err != nil {
		return nil, err
	}
	if err := cgroup.Make(s.cgroups, cg+"/system", true); err != nil {
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a line to the node: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "node"), os.NewFile(uintptr(ends[1]), "supervisor")
	defer theirs.Close()
	log, err := process.OpenLog(s.state.LogDir(), n.Name)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", "node-init", spec)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting its first process: %w", err)
	}
	l := &life{cmd: cmd, conn: node.NewConn(ours), done: make(chan struct{})}
	go s.watch(n.Name, l)
	hello, err := l.conn.Hello()
	if err != nil {
		return nil, err
	}
	l.pid = hello.PID
	if err := link.JoinNode(n.Index, cmd.Process.Pid, s.state.Address(&n), n.PodRange()); err != nil {
		return nil, err
	}
	if _, err := l.conn.Ask(node.Request{Do: node.DoNetwork}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.lives[n.Name] = l
	s.mu.Unlock()
	return l, nil
}

// writeSpec writes all that the node's first process and components read.
func (s *Supervisor) writeSpec(n state.Node) (string, error) {
	dir := s.state.NodeDir(n.Name)
	config := filepath.Join(dir, "config")
	snapshotter, err := snapshotter(dir)
	if err != nil {
		return "", err
	}
	if err := node.WriteConfig(config, node.Settings{
		Cgroup: s.state.Cgroup + "/" + n.Name, PodRange: n.PodRange(),
		Snapshotter: snapshotter, PauseImage: PauseImage, CA: s.authority.CA(),
	}); err != nil {
		return "", err
	}
	for file, user := range map[string][]string{
		"kubelet.kubeconfig":    {"system:node:" + n.Name, "system:nodes"},
		"kube-proxy.kubeconfig": {"system:kube-proxy"},
	} {
		if err := s.authority.Kubeconfig(filepath.Join(config, file), s.server(), user[0], user[1:]...); err != nil {
			return "", err
		}
	}
	programs := map[string]string{}
	for _, p := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy"} {
		programs[p] = s.state.Programs[p]
	}
	data, err := json.Marshal(node.Spec{
		Name: n.Name, Dir: dir, LogDir: s.state.LogDir(), Programs: programs,
		Cgroup: s.state.Cgroup + "/" + n.Name, Address: s.state.Address(&n), Gateway: s.state.ServerAddress(),
		Routes: s.podRoutes(n.Name), BootID: uuid(), MachineID: machineID(s.state.ID, n.Index),
	})
	if err != nil {
		return "", fmt.Errorf("writing the node's spec: %w", err)
	}
	path := filepath.Join(dir, "spec.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("writing the node's spec: %w", err)
	}
	return path, nil
}

// podRoutes leads to the pods of all nodes but one.
func (s *Supervisor) podRoutes(but string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	routes := map[string]string{}
	for i := range s.state.Nodes {
		if n := &s.state.Nodes[i]; n.Name != but && n.Status != state.Lost {
			routes[n.PodRange()] = s.state.Address(n)
		}
	}
	return routes
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func machineID(id string, index int) string { return fmt.Sprintf("%s%024d", id, index) }

// overlayMagic is the kernel's number for an overlay filesystem.
const overlayMagic = 0x794c7630

// snapshotter picks containerd's way to stack images: overlayfs, but not on an
// overlay, as inside a container, where it does not work.
func snapshotter(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the node's directory: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("looking at the node's filesystem: %w", err)
	}
	if fs.Type == overlayMagic {
		return "native", nil
	}
	return "overlayfs", nil
}
