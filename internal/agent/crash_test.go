package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/publish"
)

var testClass = config.Class{Name: "fast", HostDir: "/mnt/disks", MountDir: "/mnt/disks", VolumeMode: config.Filesystem, AccessMode: config.ReadWriteOnce, NamePattern: "*", Wipe: config.DefaultWipe}

// start begins a life of the agent that dies at the given step.
func (w *world) start(t *testing.T, dieAt int, after bool) (a *Agent, stop func()) {
	class := testClass
	if w.class != nil {
		class = *w.class
	}
	return w.startWith(t, dieAt, after, class)
}

func (w *world) startWith(t *testing.T, dieAt int, after bool, class config.Class) (a *Agent, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{w: w, kill: cancel, dieAt: dieAt, after: after, watched: make(chan watched, 1000)}
	kept := journal(p)
	if w.journal != nil {
		kept = w.journal
	}
	a = newAgent(ctx, testNode(), p, fakeAPI{p}, kept, slog.New(slog.NewTextHandler(io.Discard, nil)))
	a.current.Store(&config.Agent{Classes: []config.Class{class}, RescanInterval: time.Hour})
	if err := a.classes.Replace([]any{&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class.Name}}}, ""); err != nil {
		t.Fatal(err)
	}
	a.standIn, a.node.Tainted = w.unheld, slices.Contains(w.taints, api.TaintDiskGone)
	a.jobs, a.jobImage = func() (jobs, error) { return fakeJobs{p}, nil }, "berth:1"
	w.mu.Lock()
	w.process = p
	w.mu.Unlock()
	a.running.Go(func() { a.writeEvents(ctx) })
	a.running.Go(func() { a.followOld(ctx, func(ctx context.Context) { p.watchOld(ctx, a) }) })
	a.running.Go(func() {
		<-a.old.done
		p.watchLabelled(ctx, t, a)
	})
	a.running.Go(func() { a.loop(ctx, func() {}) })
	return a, func() {
		cancel()
		a.volumes.stop()
		a.running.Wait()
	}
}

// watchLabelled lists this node's PVs into the agent's store and brings it what
// changes, to the side of the store that the API server would tell.
func (p *process) watchLabelled(ctx context.Context, t *testing.T, a *Agent) {
	p.listLabelled(t, a)
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-p.watched:
			if e.pv == nil { // the watch was broken off
				p.listLabelled(t, a)
				continue
			}
			to := cache.ReflectorStore(a.store)
			if !a.node.Labelled(e.pv) {
				p.w.mu.Lock()
				to = p.wide
				p.w.mu.Unlock()
				if to == nil || !a.node.Adoptable(e.pv) {
					continue
				}
			}
			var err error
			if e.gone {
				err = to.Delete(e.pv)
			} else {
				err = to.Update(e.pv)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// watchOld does the same for the PVs without a label, until there are none.
func (p *process) watchOld(ctx context.Context, a *Agent) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.w.mu.Lock()
	var list []any
	for _, pv := range p.w.pvs {
		if a.node.Adoptable(pv) {
			list = append(list, pv.DeepCopy())
		}
	}
	feed := a.store.Old(cancel)
	p.wide = feed
	p.w.mu.Unlock()
	if err := feed.Replace(list, ""); err != nil {
		panic(err)
	}
	<-ctx.Done()
	p.w.mu.Lock()
	p.wide = nil
	p.w.mu.Unlock()
}

// settle waits until the agent has nothing more to do, retries included.
func settle() {
	synctest.Wait()
	time.Sleep(time.Minute) // the bubble's clock: every retry's time has come
	synctest.Wait()
}

// claimAll binds every available PV to a claim of its own, checks that no
// earlier tenant's bytes are on it, and writes its mark.
func (w *world) claimAll(t *testing.T, tenant string) {
	t.Helper()
	w.mu.Lock()
	names := slices.Sorted(maps.Keys(w.pvs))
	w.mu.Unlock()
	for _, name := range names {
		w.edit(name, func(pv *corev1.PersistentVolume) {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: tenant + "-" + name, UID: "claim"}
			pv.Status.Phase = corev1.VolumeBound
			d := w.disks[strings.TrimPrefix(pv.Spec.Local.Path, testClass.HostDir+"/")]
			if d.bytes != "" {
				t.Errorf("claim %s got %s with %q on it", tenant, pv.Spec.Local.Path, d.bytes)
			}
			d.bytes = tenant + "'s secret"
		})
	}
}

func (w *world) releaseAll() {
	w.mu.Lock()
	names := slices.Sorted(maps.Keys(w.pvs))
	w.mu.Unlock()
	for _, name := range names {
		w.edit(name, func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeReleased })
	}
}

// state is all that is to be the same at the end, however often the agent died.
func (w *world) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.pvs)) {
		pv := w.pvs[name]
		fmt.Fprintf(&b, "%s %s %s deleting=%v finalizers=%v\n", name, pv.Spec.Local.Path, pv.Status.Phase, pv.DeletionTimestamp != nil, pv.Finalizers)
	}
	for _, name := range slices.Sorted(maps.Keys(w.disks)) {
		d := w.disks[name]
		fmt.Fprintf(&b, "disk %s %q marked=%v\n", name, d.bytes, d.mark != nil)
	}
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		fmt.Fprintf(&b, "record %s %s %s\n", w.records[id].Entry, w.records[id].State, w.records[id].PV.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(w.jobs)) {
		fmt.Fprintf(&b, "job %s\n", name)
	}
	fmt.Fprintf(&b, "jobs made: %d\n", w.made)
	return b.String()
}

// phases are a volume's whole life. Each is entered with a settled agent.
var phases = []func(t *testing.T, w *world, a *Agent){
	func(*testing.T, *world, *Agent) {},
	func(t *testing.T, w *world, _ *Agent) { w.claimAll(t, "first") },
	func(_ *testing.T, w *world, _ *Agent) { w.releaseAll() },
	func(_ *testing.T, w *world, a *Agent) {
		w.mu.Lock()
		w.noDir = true
		w.mu.Unlock()
		a.trigger(false)
	},
	func(_ *testing.T, w *world, a *Agent) {
		w.mu.Lock()
		w.noDir = false
		w.mu.Unlock()
		a.trigger(false)
	},
	func(t *testing.T, w *world, _ *Agent) { w.claimAll(t, "second") },
	func(_ *testing.T, w *world, _ *Agent) { w.releaseAll() },
}

// live runs a life in which the agent dies at one step of the given phase, if
// any, is started again, and returns the end state and the steps of each phase.
func live(t *testing.T, prepare func(*world), phase, dieAt int, after bool) (end string, steps []int, died string) {
	w := newWorld(map[string]*fakeDisk{
		"dir": {identity: "fs:1:/"}, "dev": {identity: "wwid:2", device: true},
	})
	prepare(w)
	a, stop := w.start(t, 0, false)
	for i, begin := range phases {
		if i == phase && i == 0 {
			stop()
			a, stop = w.start(t, dieAt, after)
		} else if i == phase {
			w.mu.Lock()
			w.process.steps, w.process.dieAt, w.process.after = 0, dieAt, after
			w.mu.Unlock()
		}
		before, _ := w.since(0)
		begin(t, w, a)
		settle()
		made, last := w.since(before)
		steps = append(steps, made)
		if last != "" {
			died = last
			stop()
			a, stop = w.start(t, 0, false)
			settle()
		}
	}
	stop()
	return w.state(), steps, died
}

// since is how many steps came after the first ones, and which was the last if the
// agent died there.
func (w *world) since(first int) (steps int, died string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process.dead {
		died = w.trail[len(w.trail)-1]
	}
	return len(w.trail) - first, died
}

// devicesInJobs is the beginning where devices are wiped in Jobs, which outlive
// the agent: one that runs is picked up, none is left at the end, and no second
// one is made for the same release.
const devicesInJobs = "devices wiped in Jobs"

// beginnings are how the world may be when the agent first starts.
var beginnings = map[string]func(w *world){
	"nothing published": func(*world) {},
	"published by the established provisioner": func(w *world) {
		w.unheld = true
		w.established("dir")
		w.established("dev")
	},
	devicesInJobs: func(w *world) {
		class := testClass
		class.Wipe.Job = true
		w.class = &class
	},
	"published by the established provisioner, under its role": func(w *world) {
		w.unheld, w.noLabel = true, true
		w.established("dir")
		w.established("dev")
	},
}

// TestCrashConverges kills the agent before and after each step of each phase
// of a volume's life: the end is the same, and nobody sees another's bytes.
// This is guarantee 7, and guarantee 3 under crashes.
//
// Without the finalizer there is one way to another end: a device whose PV was
// being withdrawn, and was gone before the agent had noted that no claim had it,
// is held back.
func TestCrashConverges(t *testing.T) {
	for beginning, prepare := range beginnings {
		t.Run(beginning, func(t *testing.T) {
			var want string
			var steps []int
			synctest.Test(t, func(t *testing.T) { want, steps, _ = live(t, prepare, -1, 0, false) })
			t.Logf("steps of each phase: %v; end:\n%s", steps, want)
			kills, held, at := 0, 0, map[string]bool{}
			for phase, n := range steps {
				if phase == 0 {
					n += 4 // it is begun twice; what is left over kills nothing
				}
				for step := 1; step <= n; step++ {
					for _, after := range []bool{false, true} {
						name := fmt.Sprintf("phase %d step %d after=%v", phase, step, after)
						synctest.Test(t, func(t *testing.T) {
							got, _, died := live(t, prepare, phase, step, after)
							if died != "" {
								kills++
								at[died] = true
							}
							if beginning != "nothing published" && beginning != devicesInJobs && phase == 3 && strings.Contains(got, "record dev Quarantined") {
								held++
								return
							}
							if got != want {
								t.Errorf("%s: killed at %q, the end is\n%swant\n%s", name, died, got, want)
							}
						})
					}
				}
			}
			if kills < 60 || held > 6 {
				t.Errorf("the agent was killed %d times only, and a device held back %d times", kills, held)
			}
			for _, step := range []string{"begin Job", "Job runs", "Job has ended", "remove Job"} {
				if beginning == devicesInJobs && !at[step] {
					t.Errorf("the agent was not killed at %q", step)
				}
			}
			t.Logf("killed %d times, a device held back %d times", kills, held)
		})
	}
}

func testNode() publish.Node {
	return publish.Node{Name: "node-1", UID: "node-uid", Hostname: "host-1"}
}
