package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/volume"
)

// client is a CSI client of a world's agent.
type client struct {
	*testing.T
	w *world
	keeper
}

func (c client) create(id string, bytes int64) error {
	_, err := c.Create(c.Context(), "pool", pool.Spec{ID: pool.ID(id), Bytes: bytes, Mode: pool.Filesystem}, "")
	return err
}

func (c client) delete(id string) error { return c.Delete(c.Context(), "pool", pool.ID(id)) }

func (c client) grow(id string, bytes int64) error {
	_, err := c.Grow(c.Context(), "pool", pool.ID(id), bytes)
	return err
}

func (c client) use(id string) error {
	_, err := c.Use(c.Context(), "pool", pool.ID(id))
	return err
}

// wantErr fails unless an error is that one and has these words.
func (c client) wantErr(err, want error, words string) {
	c.Helper()
	if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), words) {
		c.Errorf("the error is %v; want %v with %q", err, want, words)
	}
}

// wantPieces fails unless these volumes are in the pool, and have a record.
func (c client) wantPieces(want ...string) {
	c.Helper()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	var records []string
	for _, r := range c.w.records {
		records = append(records, r.Entry)
	}
	slices.Sort(records)
	var pieces []string
	for _, id := range slices.Sorted(maps.Keys(c.w.carved.store.pieces)) {
		pieces = append(pieces, string(id))
	}
	if !slices.Equal(pieces, want) || !slices.Equal(records, want) {
		c.Errorf("in the pool are %q, in the journal %q; want %q", pieces, records, want)
	}
}

// put changes a volume's record.
func (c client) put(id string, change func(*volume.Record)) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	r := c.w.records[carvedID(id)]
	change(&r)
	c.w.records[r.ID] = r
}

// withClient runs a test of a CSI client's requests.
func withClient(t *testing.T, do func(c client)) {
	carvedNow(t, func(t *testing.T, w *world, a *Agent) { do(client{t, w, keeper{a}}) })
}

// TestNamedVolume: what a CSI client makes by name it finds again, and it goes at
// its word alone, without a trace.
func TestNamedVolume(t *testing.T) {
	withClient(t, func(c client) {
		for range 2 {
			c.wantErr(c.create("a", 40*mib), nil, "")
		}
		settle()
		c.wantPieces("a")
		c.wantErr(c.create("a", 50*mib), pool.ErrDiffers, "")
		c.wantErr(c.create("b", 61*mib), pool.ErrNoRoom, "")
		settle()
		c.wantPieces("a")
		c.wantErr(c.use("a"), nil, "")
		c.wantErr(c.grow("a", 50*mib), nil, "")
		c.wantErr(c.grow("a", 101*mib), pool.ErrNoRoom, "")
		c.wantErr(c.grow("b", mib), pool.ErrNotFound, "")
		for range 2 {
			c.wantErr(c.delete("a"), nil, "")
			c.wantPieces()
		}
		settle()
		if known, ok := c.carved.roomOf("pool"); !ok || known.Free != 100*mib {
			c.Errorf("the room is %+v", known)
		}
		if all := c.carved.all(); len(all) > 0 {
			c.Errorf("the agent remembers %v", all)
		}
	})
}

// TestKeeperRefuses: what a PV speaks for, what nobody knows of, and what is held
// back is neither taken, grown, erased nor handed out at a CSI client's word.
func TestKeeperRefuses(t *testing.T) {
	withClient(t, func(c client) {
		c.w.place("claimed", 40*mib)
		settle()
		c.w.bindCarved()
		settle()
		c.discovered.Store(false) // no worker mends what the test does to the record
		const id = "pvc-claimed"
		c.wantErr(c.use(id), nil, "")
		c.wantErr(c.create(id, mib), csi.ErrHeld, "is a claim's")
		c.wantErr(c.delete(id), csi.ErrHeld, "delete the claim")
		c.wantErr(c.grow(id, 41*mib), csi.ErrHeld, "ask for more in it")
		c.wantErr(c.grow(id, 40*mib), nil, "") // as the kubelet does after the claim has grown
		for _, s := range []volume.State{volume.Carving, volume.Published, volume.Wiping, volume.Wiped, volume.Returning} {
			c.put(id, func(r *volume.Record) { r.State = s })
			c.wantErr(c.use(id), csi.ErrHeld, string(s))
		}
		c.put(id, func(r *volume.Record) { r.State, r.Reason = volume.Quarantined, "doubt" })
		c.wantErr(c.use(id), csi.ErrHeld, "quarantined: doubt; a person has to decide: berth volume show")
		c.wantErr(c.delete(id), csi.ErrHeld, "")
		c.put(id, func(r *volume.Record) { r.State, r.Carved = volume.Used, nil })
		c.wantErr(c.use(id), csi.ErrHeld, "does not say")
		c.wantErr(c.delete(id), csi.ErrHeld, "")
		c.w.do(func() { delete(c.w.records, carvedID(id)) })
		c.wantErr(c.use(id), pool.ErrNotFound, "the journal does not know")
		c.wantErr(c.create(id, 40*mib), csi.ErrHeld, "the journal does not know")
		c.wantErr(c.delete(id), csi.ErrHeld, "the journal does not know")
		c.w.do(func() {
			if v := c.w.carved.store.pieces[id]; v == nil || v.Bytes != 40*mib {
				c.Errorf("its volume is %+v", v)
			}
		})
	})
}

// TestKeeperWaits: a request for a volume that is being worked on, or of a pool
// that is not known yet, is to come again, and changes nothing.
func TestKeeperWaits(t *testing.T) {
	withClient(t, func(c client) {
		c.wantErr(c.create("a", mib), nil, "")
		done, err := c.carved.hold(c.Context(), carvedID("a"))
		if err != nil {
			c.Fatal(err)
		}
		c.wantErr(c.delete("a"), csi.ErrPending, "")
		c.wantErr(c.create("b", mib), nil, "")
		done()
		c.carved.mu.Lock()
		c.carved.listed["pool"] = false
		c.carved.mu.Unlock()
		c.wantErr(c.create("c", mib), csi.ErrPending, "")
		c.wantErr(c.delete("a"), csi.ErrPending, "")
		settle()
		c.wantPieces("a", "b")
	})
}

// TestHalfMade: a volume that is there although making it failed, or without its
// filesystem, is undone when nobody asks for it again.
func TestHalfMade(t *testing.T) {
	failed := errors.New("input/output error")
	for what, fails := range map[string]func(*store){
		"its filesystem": func(s *store) { s.noFormat = failed },
		"its promise":    func(s *store) { s.lateErr = failed },
	} {
		t.Run(what, func(t *testing.T) {
			withClient(t, func(c client) {
				c.w.do(func() { c.w.carved.store.device = true; fails(c.w.carved.store) })
				_, err := c.Create(c.Context(), "pool", pool.Spec{ID: "a", Bytes: 40 * mib, Mode: pool.Filesystem}, "ext4")
				c.wantErr(err, failed, "")
				c.w.place("claimed", 40*mib)
				time.Sleep(firstRetry / 4) // until the first try
				synctest.Wait()
				c.wantPieces("pvc-claimed")
				c.w.unplace("claimed")
				settle()
				c.wantPieces()
			})
		})
	}
}

// TestNamedCrashConverges kills the agent before and after each step of making
// and of erasing a volume at a client's word. The next start undoes the first,
// and goes on with the second, whether the client asks again or not.
func TestNamedCrashConverges(t *testing.T) {
	for _, device := range []bool{false, true} {
		for _, erases := range []bool{false, true} {
			for _, asks := range []bool{false, true} {
				t.Run(fmt.Sprintf("devices=%v erases=%v asks=%v", device, erases, asks), func(t *testing.T) {
					kills := 0
					for dieAt, last := 1, false; !last; dieAt++ {
						for _, after := range []bool{false, true} {
							synctest.Test(t, func(t *testing.T) {
								last = !dieNamed(t, device, erases, asks, dieAt, after)
							})
						}
						kills = dieAt - 1
					}
					if kills < 3 {
						t.Errorf("it died at %d steps only", kills)
					}
				})
			}
		}
	}
}

func dieNamed(t *testing.T, device, erases, asks bool, dieAt int, after bool) (died bool) {
	w := newWorld(nil)
	w.carved = carvedWorld{store: &store{total: 100 * mib, device: device, pieces: map[pool.ID]*stored{}}, claims: map[string]*corev1.PersistentVolumeClaim{}}
	begin := func() (c client, stop func()) {
		a, end := w.start(t, 0, false)
		ctx, cancel := context.WithCancel(t.Context())
		w.carves(ctx, a)
		settle()
		return client{t, w, keeper{a}}, func() { cancel(); end() }
	}
	call := func(c client) error {
		if erases {
			return c.delete("a")
		}
		fsType := ""
		if device {
			fsType = "ext4"
		}
		_, err := c.Create(t.Context(), "pool", pool.Spec{ID: "a", Bytes: 40 * mib, Mode: pool.Filesystem}, fsType)
		return err
	}
	c, stop := begin()
	if erases {
		c.wantErr(c.create("a", 40*mib), nil, "")
		w.do(func() { w.carved.store.pieces["a"].bytes = "secret" })
	}
	w.do(func() { w.process.steps, w.process.dieAt, w.process.after = 0, dieAt, after })
	err := call(c)
	w.do(func() { died = w.process.dead })
	if !died && err != nil {
		t.Error(err)
	}
	stop()
	c, stop = begin()
	defer stop()
	if asks {
		c.wantErr(call(c), nil, "")
		settle()
	}
	r, noted := w.process.Get(carvedID("a"))
	there := !erases && (asks || noted) || erases && !asks && r.State == volume.Used
	if untouched := died && dieAt == 1 && !after; erases && there != (untouched && !asks) || !erases && !there && !died {
		t.Errorf("died at step %d (after: %v): the volume is there: %v", dieAt, after, there)
	}
	if !there {
		c.wantPieces()
		return died
	}
	c.wantPieces("a")
	c.wantErr(c.use("a"), nil, "")
	return died
}
