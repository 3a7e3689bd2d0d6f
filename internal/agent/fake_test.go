package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"k8s.io/client-go/tools/cache"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
	"github.com/berth-storage/berth/internal/wipe"
)

// errDead is what every call returns in a process that has been killed.
var errDead = errors.New("this process is dead")

// world is a machine and an API server that outlive the agent's process.
type world struct {
	mu      sync.Mutex
	disks   map[string]*fakeDisk // by name in the discovery directory
	noDir   bool                 // the discovery directory does not exist
	pvs     map[string]*corev1.PersistentVolume
	records map[volume.ID]volume.Record
	serial  int
	down    bool // the API server refuses
	fault   fault
	unheld  bool // the agent runs under the established provisioner's manifests
	noLabel bool // and may not patch PVs
	busy    int  // so many labellings meet a conflict
	trail   []string
	taints  []string // keys of the node's
	noTaint error    // why taints cannot be removed
	events  []string
	jobs    map[string]*fakeJob // by PV
	jobFate func() error        // what comes of a Job that is made now; nil: it succeeds
	noJobs  bool                // the API server refuses what is about Jobs
	made    int                 // Jobs so far
	wipes   []string            // disks whose wipe by the agent has begun, in order
	class   *config.Class       // the configuration's; nil for testClass

	journalFull int     // how many records it takes, plus one; 0 for any number
	journal     journal // instead of the world's own
	telling     telling // what people are told
	carved      carvedWorld

	process *process // the agent that lives now
}

type fakeDisk struct {
	identity disk.ID
	device   bool
	major    int    // its number as a device
	bytes    string // what tenants have left
	mark     []byte // its mark
	noMark   error  // why none can be written
	plain    bool   // nothing is mounted on it
	hang     chan struct{}
	size     int64         // 0 for 1 GiB
	refused  string        // why it must not be published
	unread   error         // it cannot be looked at
	wiping   chan struct{} // a wipe waits for its end
	unwiped  error         // how a wipe ends
	disk     string        // the physical one it is on; "" for one of its own
	medium   disk.ID       // see volume.Disk

	minor      int    // the device's number; 0 for one of its own
	sameNumber string // see entry
}

func (d *fakeDisk) number(name string) int {
	if d.minor == 0 {
		return int(crc32.ChecksumIEEE([]byte(name)))
	}
	return d.minor
}

// process is one life of the agent. It dies at a step: before it, with no
// effect, or after it, with the effect but no answer.
type process struct {
	w       *world
	kill    context.CancelFunc
	dead    bool
	dieAt   int // counted in steps from 1; 0 never
	after   bool
	steps   int
	watched chan watched         // what the watches bring
	agent   *Agent               // if it looks after the world's pool
	claims  chan func()          // what the watch of claims brings
	wide    cache.ReflectorStore // takes in PVs without a label, while they are watched
}

// watched is one event of a watch.
type watched struct {
	pv   *corev1.PersistentVolume
	gone bool
}

func newWorld(disks map[string]*fakeDisk) *world {
	return &world{disks: disks, pvs: map[string]*corev1.PersistentVolume{}, records: map[volume.ID]volume.Record{}, jobs: map[string]*fakeJob{}}
}

// step runs one effect under its name, or dies.
func (p *process) step(name string, effect func() error) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return errDead
	}
	p.steps++
	p.w.trail = append(p.w.trail, name)
	if p.steps == p.dieAt && !p.after {
		p.die()
		return errDead
	}
	err := effect()
	if p.steps == p.dieAt {
		p.die()
		return errDead
	}
	return err
}

func (p *process) die() {
	p.dead = true
	p.kill()
}

// Machine.

func (p *process) Scan(classes []config.Class) (out []entry, errs map[string]error, err error) {
	err = p.step("scan", func() error {
		if p.w.noDir {
			errs = map[string]error{classes[0].Name: fs.ErrNotExist}
			return nil
		}
		for _, name := range slices.Sorted(maps.Keys(p.w.disks)) {
			d := p.w.disks[name]
			e := entry{Class: classes[0].Name, Name: name, Kind: kindMount, Mount: disk.Mount{Source: string(d.identity)}, SameNumber: d.sameNumber}
			e.Mount.Minor, e.Minor = d.number(name), d.number(name)
			if d.device {
				e.Kind, e.Major = kindDevice, d.major
			}
			if d.plain {
				e.Kind, e.Why = kindOther, "is a plain directory"
			}
			out = append(out, e)
		}
		return nil
	})
	return out, errs, err
}

func (p *process) Inspect(c config.Class, e entry) (out *volume.Disk, problem string, err error) {
	err = p.step("inspect "+e.Name, func() error {
		d := p.w.disks[e.Name]
		if d == nil {
			return fs.ErrNotExist
		}
		if problem = e.Why; problem != "" || d.unread != nil {
			return d.unread
		}
		if d.hang != nil {
			p.w.mu.Unlock()
			<-d.hang
			p.w.mu.Lock()
		}
		out = &volume.Disk{Identity: d.identity, Class: c.Name, Entry: e.Name, Path: c.HostDir + "/" + e.Name,
			Device: d.device, CapacityBytes: cmp.Or(d.size, 1<<30), Refused: d.refused, Medium: d.medium, Keep: c.ReadOnly || c.Shared}
		d.readMark(out)
		return nil
	})
	return out, problem, err
}

func (p *process) Disk(e entry) string {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if d := p.w.disks[e.Name]; d != nil && d.disk != "" {
		return d.disk
	}
	return e.Name
}

func (p *process) Wipe(ctx context.Context, _ config.Class, w wipeJob) (wipeResult, error) {
	p.w.mu.Lock()
	p.w.wipes = append(p.w.wipes, w.Entry.Name)
	p.w.mu.Unlock()
	half := func() error {
		d := p.w.disks[w.Entry.Name]
		if d == nil || d.identity != w.Identity {
			return errors.New("another disk")
		}
		d.bytes = d.bytes[:len(d.bytes)/2]
		if d.wiping != nil {
			w.Progress.Set(wipe.Stand{Phase: wipe.PhaseErase, Since: time.Now()})
			if w.Entry.Kind == kindDevice {
				w.Progress.Set(wipe.Stand{Phase: wipe.PhaseErase, Since: time.Now().Add(-time.Minute), Done: 6 << 30, Total: 60 << 30})
			}
			p.w.mu.Unlock()
			select {
			case <-d.wiping:
			case <-ctx.Done():
			}
			p.w.mu.Lock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return d.unwiped
	}
	if err := p.step("wipe "+w.Entry.Name+" begins", half); err != nil {
		return wipeResult{}, err
	}
	if w.Entry.Kind == kindDevice {
		if err := w.Reached(1); err != nil {
			return wipeResult{}, err
		}
	}
	err := p.step("wipe "+w.Entry.Name+" ends", func() error {
		if err := half(); err != nil {
			return err
		}
		p.w.disks[w.Entry.Name].bytes, p.w.disks[w.Entry.Name].refused = "", ""
		return nil
	})
	return wipeResult{}, p.unmark(w.Entry, err)
}

// Journal.

func (p *process) Get(id volume.ID) (volume.Record, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	r, ok := p.w.records[id]
	return r, ok
}

func (p *process) All() []volume.Record {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return slices.Collect(maps.Values(p.w.records))
}

func (p *process) Put(r volume.Record) error {
	return p.step("journal "+string(r.State), func() error {
		if p.w.journalFull > 0 {
			if p.w.journalFull--; p.w.journalFull == 0 {
				p.w.journalFull = 1
				return errors.New("no space left on device")
			}
		}
		p.w.records[r.ID] = r
		return nil
	})
}

// api is the API server as one process sees it.
type fakeAPI struct{ *process }

func (p fakeAPI) Create(_ context.Context, pv *corev1.PersistentVolume) (out *corev1.PersistentVolume, created bool, err error) {
	err = p.request("create", func() error {
		if old := p.w.pvs[pv.Name]; old != nil {
			out = old.DeepCopy()
			return nil
		}
		n := pv.DeepCopy()
		n.UID = types.UID(fmt.Sprintf("uid-%d", p.w.serial))
		n.Status.Phase = corev1.VolumeAvailable
		p.w.store(n)
		out, created = n.DeepCopy(), true
		return nil
	})
	return out, created, err
}

func (p fakeAPI) Get(_ context.Context, name string) (out *corev1.PersistentVolume, err error) {
	err = p.request("get", func() error {
		if pv := p.w.pvs[name]; pv != nil {
			out = pv.DeepCopy()
		}
		return nil
	})
	return out, err
}

func (p fakeAPI) Unlabelled(_ context.Context, each func(*corev1.PersistentVolume)) error {
	return p.step("list old", func() error { // lists and watches get through; down is about requests
		for _, name := range slices.Sorted(maps.Keys(p.w.pvs)) {
			if _, labelled := p.w.pvs[name].Labels[api.LabelNode]; !labelled {
				each(p.w.pvs[name].DeepCopy())
			}
		}
		return nil
	})
}

func (p fakeAPI) Label(_ context.Context, seen volume.PV) (out *corev1.PersistentVolume, err error) {
	err = p.request("label", func() error {
		pv := p.w.pvs[seen.Name]
		switch {
		case p.w.noLabel:
			return apierrors.NewForbidden(corev1.Resource("persistentvolumes"), seen.Name, errors.New("no patch"))
		case pv == nil:
			return apierrors.NewNotFound(corev1.Resource("persistentvolumes"), seen.Name)
		case p.w.busy > 0:
			p.w.busy--
			return apierrors.NewConflict(corev1.Resource("persistentvolumes"), seen.Name, errors.New("others were faster"))
		case string(pv.UID) != seen.UID:
			return apierrors.NewConflict(corev1.Resource("persistentvolumes"), seen.Name, errors.New("another"))
		}
		n := pv.DeepCopy()
		metav1.SetMetaDataLabel(&n.ObjectMeta, api.LabelNode, publish.NodeLabelValue("node-1"))
		p.w.store(n)
		out = n.DeepCopy()
		return nil
	})
	return out, err
}

func (p fakeAPI) Withdraw(_ context.Context, seen volume.PV) (left *corev1.PersistentVolume, err error) {
	err = p.request("withdraw", func() error {
		pv, err := p.w.same(seen)
		if pv == nil {
			return err
		}
		now := metav1.Now()
		n := pv.DeepCopy()
		n.DeletionTimestamp = &now
		p.w.store(n)
		left = n.DeepCopy()
		return nil
	})
	return left, err
}

func (p fakeAPI) LetGo(_ context.Context, seen volume.PV) error {
	return p.request("let go", func() error {
		pv, err := p.w.same(seen)
		if pv == nil {
			return err
		}
		n := pv.DeepCopy()
		n.Finalizers = slices.DeleteFunc(n.Finalizers, func(f string) bool { return f == api.Finalizer })
		p.w.store(n)
		return nil
	})
}

// same checks a deletion's conditions as the API server does.
func (w *world) same(seen volume.PV) (*corev1.PersistentVolume, error) {
	pv := w.pvs[seen.Name]
	if pv == nil {
		return nil, nil
	}
	if string(pv.UID) != seen.UID || seen.Free() && pv.ResourceVersion != seen.ResourceVersion {
		return nil, apierrors.NewConflict(corev1.Resource("persistentvolumes"), seen.Name, errors.New("changed"))
	}
	return pv, nil
}

// store takes in a PV's new form and tells the living process. The caller
// holds mu.
func (w *world) store(pv *corev1.PersistentVolume) {
	w.serial++
	pv.ResourceVersion = strconv.Itoa(w.serial)
	gone := pv.DeletionTimestamp != nil && len(pv.Finalizers) == 0
	if gone {
		delete(w.pvs, pv.Name)
	} else {
		w.pvs[pv.Name] = pv
	}
	if p := w.process; p != nil && !p.dead && !w.fault.deaf {
		p.watched <- watched{pv.DeepCopy(), gone}
	}
}

// edit changes a PV as a user or a controller would.
func (w *world) edit(name string, change func(*corev1.PersistentVolume)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pv := w.pvs[name].DeepCopy()
	change(pv)
	w.store(pv)
}
