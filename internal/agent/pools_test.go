package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

// poolSet is a set of pools and what it has told.
type poolSet struct {
	*pools
	*testing.T
	disks *fakePoolDisks
	ctx   context.Context

	mu      sync.Mutex
	events  []string
	changes []string
}

// withPools runs a test of pools, in a bubble of time.
func withPools(t *testing.T, disks *fakePoolDisks, test func(s *poolSet)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &poolSet{T: t, disks: disks, ctx: ctx}
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		r := &reports{log: log, current: map[string]report{}, soon: map[string]*time.Timer{},
			event: func(_ []corev1.ObjectReference, reason, message string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.events = append(s.events, reason+": "+message)
			}}
		var running sync.WaitGroup
		s.pools = newPools(log, r, &running, disks.open)
		s.pools.changed = func(name string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes = append(s.changes, name)
		}
		test(s)
		cancel()
		running.Wait()
	})
}

func (s *poolSet) put(list ...config.Pool) {
	s.set(s.ctx, list)
	synctest.Wait()
}

func (s *poolSet) look() {
	s.check()
	synctest.Wait()
}

// wantOpen fails unless exactly these pools are open.
func (s *poolSet) wantOpen(want ...string) {
	s.Helper()
	var got []string
	for _, name := range s.Names() {
		p, ok := s.Get(name)
		if !ok {
			if !errors.Is(s.Unfit(name), pool.ErrUnfit) {
				s.Errorf("why %s is not open: %v", name, s.Unfit(name))
			}
			continue
		}
		got = append(got, name)
		if _, err := p.Room(s.ctx); err != nil || s.Unfit(name) != nil {
			s.Errorf("pool %s is open, and: %v, %v", name, err, s.Unfit(name))
		}
	}
	if !slices.Equal(got, want) {
		s.Errorf("open are %q, want %q", got, want)
	}
}

// wantSaid fails unless this was opened and closed since the last time.
func (s *poolSet) wantSaid(want ...string) {
	s.Helper()
	if got := s.disks.said(); !slices.Equal(got, want) {
		s.Errorf("done: %q, want %q", got, want)
	}
}

// wantTrouble fails unless the pool's trouble has these words, none for no
// words, and there were so many events so far.
func (s *poolSet) wantTrouble(name, words string, events int) {
	s.Helper()
	got, _ := s.reports.about(poolSubject(name))
	if words != "" && got.reason != api.ReasonPoolUnfit || !strings.Contains(got.message, words) || (words == "") != (got.message == "") {
		s.Errorf("the trouble of %s is %q, want %q", name, got, words)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) != events {
		s.Errorf("events: %q, want %d", s.events, events)
	}
}

func (s *poolSet) wantChanges(want ...string) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.changes, want) {
		s.Errorf("told of changes: %q, want %q", s.changes, want)
	}
	s.changes = nil
}

func btrfsPool(name, path string) config.Pool {
	return config.Pool{Name: name, Kind: config.PoolBtrfs, Path: path}
}

// TestPoolsAreTriedAgain: a pool whose disk is not mounted is reported once and
// leaves the others alone; it is there as soon as its mount is, or later
// when nothing tells.
func TestPoolsAreTriedAgain(t *testing.T) {
	withPools(t, newFakeDisks("/mnt/a"), func(s *poolSet) {
		s.put(btrfsPool("a", "/mnt/a"), btrfsPool("b", "/mnt/b"), btrfsPool("c", "/mnt/c"))
		s.wantOpen("a")
		s.wantTrouble("b", "nothing is mounted there", 2)
		s.wantChanges("a")
		time.Sleep(5 * poolRetry)
		s.look()
		s.wantTrouble("b", "nothing is mounted there", 2)
		s.disks.mount("/mnt/b", "b")
		s.look()
		s.wantOpen("a", "b")
		s.wantTrouble("b", "", 2)
		s.disks.mount("/mnt/c", "c")
		time.Sleep(poolRetry)
		synctest.Wait()
		s.wantOpen("a", "b", "c")
		s.wantSaid("open a", "open b", "open c")
		s.wantChanges("b", "c")
	})
}

// TestPoolsFollowTheConfiguration: what stays as it is stays open, a reserve
// changes under way, what the kind must know is opened anew, and what is not
// configured any more is closed.
func TestPoolsFollowTheConfiguration(t *testing.T) {
	withPools(t, newFakeDisks("/mnt/a", "vg0"), func(s *poolSet) {
		a, lvm := btrfsPool("a", "/mnt/a"), config.Pool{Name: "l", Kind: config.PoolLVM, VolumeGroup: "vg0", Stripes: 1, Line: 9}
		s.put(a, lvm)
		held, _ := s.Get("a")
		s.disks.said()
		s.wantTrouble("a", "", 0)
		s.mu.Lock()
		s.changes = nil
		s.mu.Unlock()

		a.Reserve, a.Classes, lvm.Line = pool.Reserve{Percent: 50}, []string{"x"}, 3
		s.put(a, lvm)
		s.wantSaid()
		s.wantChanges("a")
		if r, err := held.Room(s.ctx); err != nil || r.Total != fakePoolBytes/2 {
			t.Errorf("the room with the new reserve is %+v (%v)", r, err)
		}
		if c, ok := s.Config("a"); !ok || !slices.Equal(c.Classes, []string{"x"}) {
			t.Errorf("the configuration is %+v", c)
		}

		lvm.Stripes = 2
		s.put(a, lvm)
		s.wantSaid("shut l", "open l")
		s.wantOpen("a", "l")
		s.put(lvm)
		s.wantSaid("shut a")
		s.wantOpen("l")
		if _, err := held.Volumes(s.ctx); !errors.Is(err, pool.ErrUnfit) {
			t.Errorf("a closed pool says %v", err)
		}
		if _, ok := s.Config("a"); ok || !slices.Equal(s.Names(), []string{"l"}) {
			t.Errorf("the pools are %q", s.Names())
		}
		s.put(btrfsPool("other", "/mnt/a"), lvm) // the same place under another name
		s.wantSaid("open other")
	})
}

// TestPoolLosesItsDisk: a pool whose disk goes away under the agent is closed,
// and is not the disk that comes instead.
func TestPoolLosesItsDisk(t *testing.T) {
	disks := newFakeDisks()
	disks.mount("/mnt/a", "a", "one", "two")
	withPools(t, disks, func(s *poolSet) {
		s.expected = func(name string) []pool.ID {
			if name != "a" {
				t.Errorf("asked for the volumes of %q", name)
			}
			return []pool.ID{"gone", "two"}
		}
		s.put(btrfsPool("a", "/mnt/a"))
		s.wantOpen("a")
		held, _ := s.Get("a")

		first := s.disks.mount("/mnt/a", "another")
		s.look()
		s.wantOpen()
		s.wantTrouble("a", "has none of the 2 volumes that the journal knows, such as gone", 1)
		if err := held.Remove(s.ctx, "one"); !errors.Is(err, pool.ErrUnfit) || len(first.volumes) != 2 {
			t.Errorf("removing a volume of the disk that is gone: %v; it has %v", err, first.volumes)
		}
		s.disks.umount("/mnt/a")
		s.look()
		s.wantOpen()
		s.wantTrouble("a", "nothing is mounted there", 2)
		s.disks.mount("/mnt/a", "a", "two")
		s.look()
		s.wantOpen("a")
		s.wantTrouble("a", "", 2)
		s.wantSaid("open a", "shut a", "open a", "shut a", "open a")
		s.wantChanges("a", "a", "a")
	})
}

// TestPoolIsOpenOnce: a place has one open pool at a time: who opens it next
// waits for the calls that were made before.
func TestPoolIsOpenOnce(t *testing.T) {
	withPools(t, newFakeDisks("vg0"), func(s *poolSet) {
		lvm := config.Pool{Name: "l", Kind: config.PoolLVM, VolumeGroup: "vg0", Stripes: 1}
		s.put(lvm)
		disk, slow := s.disks.at["vg0"], make(chan struct{})
		disk.slow = slow
		held, _ := s.Get("l")
		done := make(chan error, 1)
		go func() { done <- held.Remove(s.ctx, "x") }()
		synctest.Wait()

		lvm.Stripes = 2
		s.put(lvm)
		s.wantSaid("open l")
		if _, ok := s.Get("l"); ok {
			t.Error("a pool that is being closed is given out")
		}
		other := lvm
		other.Name = "other"
		s.put(other)
		s.wantSaid()
		disk.slow = nil
		close(slow)
		synctest.Wait()
		if err := <-done; err != nil {
			t.Errorf("the call that was under way: %v", err)
		}
		s.wantSaid("shut l", "open l", "shut l", "open other")
		s.wantOpen("other")
	})
}

// TestHungPoolIsAlone is guarantee 8 for pools.
func TestHungPoolIsAlone(t *testing.T) {
	disks := newFakeDisks("/mnt/a", "/mnt/b")
	withPools(t, disks, func(s *poolSet) {
		hang := make(chan struct{})
		disks.hanging["/mnt/a"] = hang
		s.put(btrfsPool("a", "/mnt/a"), btrfsPool("b", "/mnt/b"))
		s.wantOpen("b")
		s.wantTrouble("a", "", 0)
		time.Sleep(inspectPatience)
		synctest.Wait()
		s.wantTrouble("a", "opening btrfs at /mnt/a has taken over 30s", 1)
		s.put(btrfsPool("b", "/mnt/b"))
		s.disks.mu.Lock()
		delete(s.disks.hanging, "/mnt/a")
		s.disks.mu.Unlock()
		close(hang)
		synctest.Wait()
		s.wantOpen("b") // not what came too late
		s.wantSaid("open b", "open a", "shut a")
		s.wantChanges("b", "a")
		s.wantTrouble("a", "", 1)
	})
}

// TestTwoPoolsOnOneDisk: space is promised once, also where two mounts are of
// one filesystem.
func TestTwoPoolsOnOneDisk(t *testing.T) {
	disks := newFakeDisks()
	disks.mount("/mnt/a", "same")
	withPools(t, disks, func(s *poolSet) {
		s.put(btrfsPool("a", "/mnt/a"))
		disks.mount("/mnt/b", "same")
		s.put(btrfsPool("a", "/mnt/a"), btrfsPool("b", "/mnt/b"))
		s.wantOpen("a")
		s.wantTrouble("b", `it is the filesystem of pool "a"`, 1)
		s.put(btrfsPool("b", "/mnt/b"))
		time.Sleep(poolRetry)
		synctest.Wait()
		s.wantOpen("b")
	})
}

// TestForClass: which pool a StorageClass's volumes come out of.
func TestForClass(t *testing.T) {
	named := func(c config.Pool, classes ...string) config.Pool { c.Classes = classes; return c }
	a, b, c := btrfsPool("a", "/mnt/a"), btrfsPool("b", "/mnt/b"), btrfsPool("c", "/mnt/c")
	for what, test := range map[string]struct {
		pools      []config.Pool
		parameters map[string]string
		want, err  string
	}{
		"no pools":               {},
		"no pools, named":        {parameters: map[string]string{"pool": "a"}},
		"the only one":           {pools: []config.Pool{a}, want: "a"},
		"the only one, named":    {pools: []config.Pool{a}, parameters: map[string]string{"pool": "a", "csi.storage.k8s.io/fstype": "xfs"}, want: "a"},
		"the only one, not this": {pools: []config.Pool{named(a, "other")}},
		"another is named":       {pools: []config.Pool{a}, parameters: map[string]string{"pool": "b"}},
		"named, not for it":      {pools: []config.Pool{named(a, "other"), b}, parameters: map[string]string{"pool": "a"}},
		"one of several":         {pools: []config.Pool{a, b}, parameters: map[string]string{"pool": "b"}, want: "b"},
		"which of several":       {pools: []config.Pool{b, a}, err: "StorageClass fast names no pool, and this node has several for it: a, b; set the parameter pool"},
		"the one that names it":  {pools: []config.Pool{a, named(b, "fast"), c}, want: "b"},
		"two that name it":       {pools: []config.Pool{a, named(b, "fast"), named(c, "fast")}, err: "several for it: a, b, c"},
		"none of several":        {pools: []config.Pool{named(a, "x"), named(b, "y")}},
		"unknown parameter":      {pools: []config.Pool{a}, parameters: map[string]string{"pools": "a"}, err: `StorageClass fast has the parameter "pools"; allowed: pool, and Kubernetes' own`},
		"empty name":             {pools: []config.Pool{a}, parameters: map[string]string{"pool": ""}, err: "empty parameter pool"},
	} {
		withPools(t, newFakeDisks(), func(s *poolSet) { // none of them is open
			s.put(test.pools...)
			got, err := s.ForClass("fast", test.parameters)
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %q, %v; want %q, %q", what, got, err, test.want, test.err)
			}
		})
	}
}
