//go:build vm

package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berth-storage/berth/test/vm"
)

const (
	mib = 1 << 20
	// machineServer is where the machine finds the API server.
	machineServer = "127.0.0.1:6443"
	nodeName      = "machine"
	// journalDisk holds what must outlive a boot, beside the volumes.
	journalDisk = "JOURNAL"
)

// kind is what a volume is: a filesystem, or a device.
type kind string

const (
	ext4 kind = "ext4"
	xfs  kind = "xfs"
	raw  kind = "raw"
)

// volume is one disk of the machine that becomes a volume, as its user knows it.
type volume struct {
	vm.Disk
	kind
	// pieces is how often a tenant writes its secret.
	pieces int

	// What the user knows; it belongs to the test's or the user's goroutine.
	cycle  int
	claim  string // "" when there is none
	uid    string // of the PV that it has, or had last
	secret string // written, or being written, by the claim
	kept   bool   // the secret is whole and would survive a power cut
}

func ext4Volume(serial string) *volume {
	return &volume{Disk: vm.Disk{Serial: serial, Bytes: 32 * mib, Kind: vm.Virtio}, kind: ext4, pieces: 200}
}

// xfsVolume is as small as xfs can be.
func xfsVolume(serial string) *volume {
	return &volume{Disk: vm.Disk{Serial: serial, Bytes: 320 * mib, Kind: vm.Virtio}, kind: xfs, pieces: 200}
}

func rawVolume(serial string) *volume {
	return &volume{Disk: vm.Disk{Serial: serial, Bytes: 8 * mib, Kind: vm.Virtio}, kind: raw, pieces: 64}
}

func (v *volume) dir() string {
	if v.kind == raw {
		return "/mnt/raw"
	}
	return "/mnt/fs"
}

// path is where the machine and the PV have the volume.
func (v *volume) path() string { return v.dir() + "/" + strings.ToLower(v.Serial) }

// uuid is of the volume's filesystem: its number among all.
func uuid(i int) string { return fmt.Sprintf("be7be7be-0000-4000-8000-%012d", i) }

// node is the machine with its agent.
type node struct {
	kube
	*vm.Machine
	volumes []*volume
	fresh   bool // the disks have no filesystems yet

	said  *said
	agent context.CancelFunc // kills the agent
	ended chan error         // gets how the agent ended
}

// config is the agent's. Several passes make the wipe of a small device last
// long enough to be met in the middle.
const config = `apiVersion: berth.storage/v1alpha1
kind: AgentConfig
classes:
- {name: fs, hostDir: /mnt/fs}
- {name: raw, hostDir: /mnt/raw, volumeMode: Block, wipe: {method: Zero, passes: %d}}
`

// boot boots a machine with these volumes, not yet with the agent.
func boot(t *testing.T, passes int, volumes ...*volume) *node {
	t.Helper()
	n := &node{kube: newKube(t), volumes: volumes, fresh: true}
	n.register(t, nodeName, "fs", "raw")
	dir := t.TempDir()
	fstab, setup := "", "set -e\nmkdir -p /mnt/fs /mnt/raw /var/lib/berth\n"
	create := ""
	mount := func(serial string, k kind, dir string, number int) {
		device := "/dev/disk/by-id/virtio-" + serial
		if k == raw {
			setup += fmt.Sprintf("ln -s %s %s\n", device, dir)
			return
		}
		fstab += fmt.Sprintf("UUID=%s %s %s nofail 0 0\n", uuid(number), dir, k)
		setup += fmt.Sprintf("mkdir -p %s\n", dir)
		if k == xfs {
			create += fmt.Sprintf("mkfs.xfs -q -m uuid=%s %s\n", uuid(number), device)
		} else {
			create += fmt.Sprintf("mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -U %s %s\n", uuid(number), device)
		}
	}
	disks := []vm.Disk{{Serial: journalDisk, Bytes: 32 * mib, Kind: vm.Virtio}}
	mount(journalDisk, ext4, "/var/lib/berth", 0)
	for i, v := range volumes {
		disks = append(disks, v.Disk)
		mount(v.Serial, v.kind, v.path(), i+1)
	}
	setup += "if [ \"$1\" = fresh ]; then\n" + create + "udevadm settle\nfi\ncp /host/fstab /etc/fstab\nmount -a\n"
	files := map[string]string{
		"berth": filepath.Join(outside.dir, "berth"), "tenant": filepath.Join(outside.dir, "tenant"),
		"kubeconfig": filepath.Join(outside.dir, "kubeconfig"),
	}
	for name, text := range map[string]string{"agent.yaml": fmt.Sprintf(config, passes), "fstab": fstab, "setup": setup} {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	n.Machine, err = vm.Boot(t.Context(), vm.Options{Disks: disks, Files: files, Forward: map[string]string{machineServer: outside.server}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && n.said != nil {
			t.Logf("the agent's last words:\n%s", n.said.tail(40))
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if n.ended != nil {
			<-n.ended
		}
	})
	n.setUp(t)
	return n
}

// setUp mounts what fstab names, as a machine does when it comes up.
func (n *node) setUp(t *testing.T) {
	t.Helper()
	age := "old"
	if n.fresh {
		age = "fresh"
	}
	n.must(t, "sh", "/host/setup", age)
	n.fresh = false
}

// must runs a command in the machine.
func (n *node) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := n.Output(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// start starts the agent.
func (n *node) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n.said, n.agent, n.ended = &said{}, cancel, make(chan error, 1)
	said, ended := n.said, n.ended
	go func() {
		status, err := n.Run(ctx, vm.Command{
			Args: []string{"/host/berth", "agent", "--node", nodeName, "--config", "/host/agent.yaml", "--kubeconfig", "/host/kubeconfig",
				"--state-dir", "/var/lib/berth", "--listen", ""},
			Stdout: said, Stderr: said,
		})
		if err == nil {
			err = fmt.Errorf("exit status %d", status)
		}
		ended <- err
		close(ended)
	}()
}

// over checks how the agent ended with the machine.
func (n *node) over(t *testing.T) {
	t.Helper()
	if err := <-n.ended; !errors.Is(err, vm.ErrOff) {
		t.Fatalf("the agent ended before the machine: %v\n%s", err, n.said.tail(40))
	}
}

// heard waits until the agent has said something, in one line.
func (n *node) heard(t *testing.T, words ...string) {
	t.Helper()
	await(t, fmt.Sprintf("the agent to say %q", words), func(context.Context) error {
		if n.said.line(words...) == "" {
			return errors.New("it has not")
		}
		return nil
	})
}

// said is what an agent has logged.
type said struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// line is the first line with all the words, or "".
func (s *said) line(words ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
lines:
	for line := range strings.Lines(s.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		return line
	}
	return ""
}

func (s *said) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.SplitAfter(s.text.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
