//go:build root

package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/pool"
)

func runs(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// btrfsImage makes a btrfs of 256 MiB, and a mount point for it.
func btrfsImage(t *testing.T) (image, at string) {
	t.Helper()
	dir := t.TempDir()
	image, at = filepath.Join(dir, "image"), filepath.Join(dir, "at")
	runs(t, "truncate", "-s", "256M", image)
	runs(t, "mkfs.btrfs", "-q", image)
	runs(t, "mkdir", at)
	return image, at
}

// mountLoop mounts an image until the test ends.
func mountLoop(t *testing.T, image, at string) {
	t.Helper()
	runs(t, "mount", "-o", "loop", image, at)
	unmounted(t, at)
}

// unmounted unmounts what is at a place when the test ends, although a pool may
// look at it just then.
func unmounted(t *testing.T, at string) {
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Errorf("unmounting %s: %v", at, err)
		}
	})
}

// opened opens a pool until the test ends.
func opened(t *testing.T, c config.Pool) (pool.Pool, error) {
	t.Helper()
	p, err := openPool(t.Context(), c)
	if err == nil {
		t.Cleanup(func() {
			if err := p.(shutter).Shut(); err != nil {
				t.Error(err)
			}
		})
	}
	return p, err
}

// TestRootOpenPool: each kind opens where it is to, with its reserve, and says
// what is missing where not. No mount, no pool.
func TestRootOpenPool(t *testing.T) {
	image, at := btrfsImage(t)
	refused := func(words string, c config.Pool) {
		t.Helper()
		p, err := openPool(t.Context(), c)
		if !errors.Is(err, pool.ErrUnfit) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s %s: %v, want %s", c.Kind, c.Path, err, words)
		}
		if p != nil {
			t.Errorf("%s %s: a pool beside the error", c.Kind, c.Path)
		}
	}
	c := config.Pool{Name: "a", Kind: config.PoolBtrfs, Path: at}
	refused("nothing is mounted there", c)
	mountLoop(t, image, at)
	xfs := c
	xfs.Kind = config.PoolXFS
	refused("a filesystem of type btrfs is mounted there; allowed: xfs, ext4", xfs)
	inside := c
	inside.Path = filepath.Join(at, "Inside") // which is no volume's name
	runs(t, "mkdir", inside.Path)
	refused("nothing is mounted there", inside)
	runs(t, "mount", "-o", "remount,ro", at)
	refused("it is mounted read-only", c)
	runs(t, "mount", "-o", "remount,rw", at)
	dir := config.Pool{Name: "d", Kind: config.PoolDir, Path: t.TempDir()}
	refused("unenforced: true", dir)
	dir.Unenforced = true
	if _, err := openPool(t.Context(), config.Pool{Kind: config.PoolDir, Path: at + "/none", Unenforced: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}

	whole, err := opened(t, c)
	if err != nil {
		t.Fatal(err)
	}
	before, err := whole.Room(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []config.Pool{c, dir} {
		c.Reserve = pool.Reserve{Percent: 25}
		p, err := opened(t, c)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Carve(t.Context(), pool.Spec{ID: "v", Bytes: 1 << 20, Mode: pool.Filesystem})
		if err != nil || v.Bytes != 1<<20 {
			t.Errorf("carving from %s: %+v, %v", c.Kind, v, err)
		}
		r, err := p.Room(t.Context())
		if want := before.Total - before.Total/4; err != nil || c.Kind == config.PoolBtrfs && (r.Total < want-100 || r.Total > want+100) {
			t.Errorf("the room of %s is %+v (%v) with a quarter kept back, and was %+v", c.Kind, r, err, before)
		}
		if err := p.(mounted).There(); err != nil {
			t.Errorf("%s: %v", c.Kind, err)
		}
	}
}

// TestRootPoolLosesItsMount: a pool whose filesystem is unmounted under the agent
// is noticed by the mount's event, carves nothing into what is beneath, and is
// there again with the mount. Another filesystem at the place is not it, and
// one that is mounted twice is one pool.
func TestRootPoolLosesItsMount(t *testing.T) {
	image, at := btrfsImage(t)
	other, second := btrfsImage(t)
	mountLoop(t, image, at)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	changes := make(chan string, 100)
	r := &reports{log: log, current: map[string]report{}, soon: map[string]*time.Timer{},
		event: func(_ []corev1.ObjectReference, _, message string) { changes <- message }}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	p := newPools(log, r, &running, openPool)
	p.expected = func(name string) []pool.ID {
		if name == "a" {
			return []pool.ID{"v"}
		}
		return nil
	}
	p.changed = func(name string) { changes <- name }
	running.Go(func() {
		if err := disk.WatchMounts(ctx, p.check); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		p.set(ctx, nil)
		p.mu.Lock()
		var left []<-chan struct{}
		for s := range p.leaving {
			left = append(left, s.left)
		}
		p.mu.Unlock()
		for _, done := range left {
			<-done
		}
		cancel()
		running.Wait()
	})
	// until waits for a pool to be open or not, with these words in its trouble.
	until := func(name string, open bool, words string) pool.Pool {
		t.Helper()
		patience := time.After(time.Minute)
		for {
			got, ok := p.Get(name)
			trouble, _ := r.about(poolSubject(name))
			if ok == open && strings.Contains(trouble.message, words) {
				return got
			}
			select {
			case <-changes:
			case <-patience:
				t.Fatalf("pool %s is open: %v, with the trouble %q; want %v, %q", name, ok, trouble.message, open, words)
			}
		}
	}

	first, err := openPool(ctx, btrfsPool("a", at))
	if err == nil {
		_, err = first.Carve(ctx, pool.Spec{ID: "v", Bytes: 1 << 20, Mode: pool.Filesystem})
	}
	if err == nil {
		err = first.(shutter).Shut()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.set(ctx, []config.Pool{btrfsPool("a", at), btrfsPool("b", second)})
	held := until("a", true, "")
	until("b", false, "nothing is mounted there")

	runs(t, "umount", "--lazy", at)
	until("a", false, "nothing is mounted there")
	if _, err := held.Carve(ctx, pool.Spec{ID: "w", Bytes: 1 << 20, Mode: pool.Filesystem}); !errors.Is(err, pool.ErrUnfit) {
		t.Errorf("carving without the mount: %v", err)
	}
	if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
		t.Errorf("beneath the mount are %v (%v)", left, err)
	}
	mountLoop(t, other, at)
	until("a", false, "has none of the 1 volumes that the journal knows, such as v")
	runs(t, "umount", "--lazy", at)
	mountLoop(t, image, at)
	until("a", true, "")
	runs(t, "mount", "--bind", at, second)
	unmounted(t, second)
	until("b", false, `it is the filesystem of pool "a"`)
}
