//go:build root

package agent

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
)

// saneAgent is an agent that looks after one pool, with no claims and no PVs.
type saneAgent struct {
	*Agent
	name    string // the pool's
	journal *volume.Journal
	pool    pool.Pool
	before  pool.Room
	socket  string
}

// looksAfter starts an agent that serves CSI requests for a pool until the test
// ends.
func looksAfter(t *testing.T, c config.Pool) *saneAgent {
	j, err := volume.OpenJournal(filepath.Join(t.TempDir(), "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := newWorld(nil)
	p := &process{w: w, kill: cancel}
	w.process = p
	log := slog.New(slog.DiscardHandler)
	a := newAgent(ctx, testNode(), localMachine{}, fakeAPI{p}, j, log)
	a.current.Store(&config.Agent{Pools: []config.Pool{c}})
	a.discovered.Store(true)
	if err := a.store.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := a.carved.claims.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	listed := make(chan struct{}, 1)
	a.pools.changed = func(name string) {
		a.poolChanged(ctx, name)
		listed <- struct{}{}
	}
	a.pools.set(ctx, []config.Pool{c})
	<-listed
	s := &saneAgent{Agent: a, name: c.Name, journal: j}
	var ok bool
	if s.pool, ok = a.pools.Get(c.Name); !ok {
		t.Fatal(a.pools.Unfit(c.Name))
	}
	if s.before, err = s.pool.Room(ctx); err != nil {
		t.Fatal(err)
	}
	kubelet := t.TempDir()
	s.socket = csi.SocketPath(kubelet, api.Driver)
	server := &csi.Server{Driver: api.Driver, Version: "test", Node: a.node.Name, Pools: a.pools, Keeper: keeper{a}, Log: log}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, kubelet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		a.volumes.stop()
		a.running.Wait()
		if err := s.pool.(*gate).shut(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wantNothing fails if the suite has left anything.
func (s *saneAgent) wantNothing(t *testing.T) {
	if all := s.journal.All(); len(all) > 0 {
		t.Errorf("pool %s: the journal has %+v", s.name, all)
	}
	left, err := s.pool.Volumes(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("pool %s has %v (%v)", s.name, left, err)
	}
	if now, err := s.pool.Room(t.Context()); err != nil || now != s.before {
		t.Errorf("the room of pool %s was %+v and is %+v (%v)", s.name, s.before, now, err)
	}
	if known, ok := s.carved.roomOf(s.name); !ok || known != s.before {
		t.Errorf("the scheduler is told of %+v in pool %s", known, s.name)
	}
	s.carved.mu.Lock()
	defer s.carved.mu.Unlock()
	if len(s.carved.pieces) > 0 || len(s.carved.names) > 0 {
		t.Errorf("pool %s: the agent remembers %v, %v", s.name, s.carved.pieces, s.carved.names)
	}
}

// TestRootSanity runs the conformance suite of the CSI project against an agent's
// own socket: its journal, its pools and its keeper. internal/csi.TestVMSanity
// does so for the pools that need a machine.
func TestRootSanity(t *testing.T) {
	tmp := t.TempDir()
	image, mounted := filepath.Join(tmp, "image"), filepath.Join(tmp, "btrfs")
	for _, c := range []string{"truncate -s 4G " + image, "mkfs.btrfs -q " + image, "mkdir " + mounted, "mount -o loop " + image + " " + mounted} {
		if out, err := exec.Command("sh", "-c", c).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mounted).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	agents := []*saneAgent{
		looksAfter(t, config.Pool{Name: "dir", Kind: config.PoolDir, Path: t.TempDir(), Unenforced: true}),
		looksAfter(t, config.Pool{Name: "btrfs", Kind: config.PoolBtrfs, Path: mounted}),
	}
	for _, a := range agents {
		for _, access := range []string{"mount", "block"} {
			at := t.TempDir()
			c := sanity.NewTestConfig()
			c.Address = "unix:" + a.socket
			c.TargetPath, c.StagingPath = filepath.Join(at, "target"), filepath.Join(at, "staging")
			c.TestVolumeSize, c.TestVolumeExpandSize = 64<<20, 128<<20
			c.TestVolumeAccessType = access
			ginkgo.Describe(strings.Join([]string{a.name, access}, " "), func() { sanity.GinkgoTest(&c) })
		}
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(t, "CSI")
	for _, a := range agents {
		a.wantNothing(t)
	}
}
