package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// store is a pool's disk in the world: it outlives the agent's process.
type store struct {
	total  int64
	device bool // volumes are devices, and what is freed can be read
	away   bool // the pool is not open
	halves int  // so many removals take the name away, and fail then
	// noFormat is why no filesystem can be made on a volume, and lateErr what
	// carving one fails with although it is made.
	noFormat, lateErr error
	pieces            map[pool.ID]*stored
}

type stored struct {
	pool.Volume
	fsType string // made on it
	bytes  string // a tenant's
	wiped  bool
}

// carvedWorld is what a world has for claims.
type carvedWorld struct {
	store  *store
	claims map[string]*corev1.PersistentVolumeClaim // by UID
	given  int                                      // how many claims were given back
	room   []publish.Capacity                       // as the scheduler was told last
}

// fakeStore is a pool as one process sees it.
type fakeStore struct{ *process }

func (p fakeStore) disk() *store { return p.w.carved.store }

func (p fakeStore) Features() pool.Features {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return pool.Features{Enforced: true, Device: p.disk().device, Raw: p.disk().device}
}

func (s *store) free() int64 {
	free := s.total
	for _, v := range s.pieces {
		free -= v.Bytes
	}
	return free
}

func (p fakeStore) Room(context.Context) (r pool.Room, err error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return pool.Room{Total: p.disk().total, Free: p.disk().free(), Largest: p.disk().free()}, nil
}

func (p fakeStore) Volumes(context.Context) (all []pool.Volume, err error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(p.disk().pieces)) {
		all = append(all, p.disk().pieces[id].Volume)
	}
	return all, nil
}

func (p fakeStore) Carve(_ context.Context, s pool.Spec) (v pool.Volume, err error) {
	err = p.step("carve", func() error {
		if have := p.disk().pieces[s.ID]; have != nil {
			v = have.Volume
			return nil
		}
		if s.Bytes > p.disk().free() {
			return pool.ErrNoRoom
		}
		v = pool.Volume(s)
		p.disk().pieces[s.ID] = &stored{Volume: v}
		return p.disk().lateErr
	})
	return v, err
}

func (p fakeStore) Grow(_ context.Context, id pool.ID, bytes int64) (v pool.Volume, err error) {
	err = p.step("grow", func() error {
		have := p.disk().pieces[id]
		switch {
		case have == nil:
			return pool.ErrNotFound
		case bytes-have.Bytes > p.disk().free():
			return pool.ErrNoRoom
		}
		have.Bytes = max(have.Bytes, bytes)
		v = have.Volume
		return nil
	})
	return v, err
}

func (p fakeStore) Open(_ context.Context, id pool.ID) (at pool.Place, err error) {
	err = p.step("open", func() error {
		if p.disk().pieces[id] == nil {
			return pool.ErrNotFound
		}
		at.Device = string(id)
		return nil
	})
	return at, err
}

func (p fakeStore) Close(context.Context, pool.ID) error {
	return p.step("close", func() error { return nil })
}

func (p fakeStore) Remove(_ context.Context, id pool.ID) error {
	return p.step("remove", func() error {
		if v := p.disk().pieces[id]; v != nil && p.disk().device && v.bytes != "" && !v.wiped {
			return errors.New("the test's pool: bytes of a tenant would be left behind")
		}
		delete(p.disk().pieces, id)
		if p.disk().halves > 0 {
			p.disk().halves--
			return errors.New("the test's pool: something is left")
		}
		return nil
	})
}

// fakePools is a node with one pool.
type fakePools struct{ *process }

func (p fakePools) Names() []string { return []string{"pool"} }

func (p fakePools) Get(name string) (pool.Pool, bool) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return fakeStore(p), name == "pool" && !p.w.carved.store.away
}

func (p fakePools) Config(name string) (config.Pool, bool) {
	return config.Pool{Name: "pool"}, name == "pool"
}

func (p fakePools) Unfit(name string) error {
	if _, ok := p.Get(name); !ok {
		return pool.ErrUnfit
	}
	return nil
}

func (p fakePools) ForClass(class string, _ map[string]string) (string, error) {
	if class == "carved" {
		return "pool", nil
	}
	return "", nil
}

func (p *process) Format(_ context.Context, device, fsType string) error {
	return p.step("format", func() error {
		v := p.w.carved.store.pieces[pool.ID(device)]
		if v.bytes != "" {
			return errors.New("the test's machine: a tenant's bytes would be formatted over")
		}
		if p.w.carved.store.noFormat != nil {
			return p.w.carved.store.noFormat
		}
		v.fsType = fsType
		return nil
	})
}

func (p *process) Mounts(string) ([]string, error) { return nil, nil }

func (p *process) WipePiece(_ context.Context, _ config.Wipe, device string, w wipeJob) (wipeResult, error) {
	err := p.step("wipe piece", func() error {
		p.w.carved.store.pieces[pool.ID(device)].wiped = true
		return nil
	})
	if err == nil {
		err = w.Reached(1)
	}
	return wipeResult{Method: "zero"}, err
}

func (p *process) Remove(id volume.ID) error {
	return p.step("journal forgets", func() error {
		delete(p.w.records, id)
		return nil
	})
}

// Update and Renew are what the scheduler is told of.
func (p fakeAPI) Update(ctx context.Context, room func() []publish.Capacity) error {
	all := room()
	return p.request("tell room", func() error {
		p.w.carved.room = all
		return nil
	})
}

func (p fakeAPI) Renew(ctx context.Context, room func() []publish.Capacity) error {
	return p.Update(ctx, room)
}

func (p fakeAPI) GiveBack(_ context.Context, w volume.Want) (given bool, err error) {
	err = p.request("give back", func() error {
		c := p.w.carved.claims[w.Claim.UID]
		if c == nil || c.Annotations[publish.AnnSelectedNode] != w.Node {
			return nil
		}
		n := c.DeepCopy()
		delete(n.Annotations, publish.AnnSelectedNode)
		delete(n.Labels, api.LabelNode)
		p.w.carved.given++
		given = true
		p.w.keepClaim(n)
		return nil
	})
	return given, err
}

func (p fakeAPI) GrowPV(_ context.Context, seen volume.PV, bytes int64) (out *corev1.PersistentVolume, err error) {
	err = p.request("grow PV", func() error {
		pv := p.w.pvs[seen.Name]
		if pv == nil || string(pv.UID) != seen.UID {
			return apierrors.NewNotFound(corev1.Resource("persistentvolumes"), seen.Name)
		}
		n := pv.DeepCopy()
		n.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
		p.w.store(n)
		out = n.DeepCopy()
		return nil
	})
	return out, err
}

func (p fakeAPI) SetResize(_ context.Context, w volume.Want, r publish.Resize) (now volume.Want, err error) {
	err = p.request("tell claim "+string(r.Stage), func() error {
		c := p.w.carved.claims[w.Claim.UID]
		if c == nil || c.ResourceVersion != w.ResourceVersion {
			return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), w.Claim.Name, errors.New("changed"))
		}
		// As publish.Resize has it: a try at the same size says nothing new.
		if w.AllocatedBytes == r.Bytes && (r.Stage == publish.ResizeBegun && w.Resizing != "" ||
			r.Stage == publish.ResizeRefused && w.Resizing == string(corev1.PersistentVolumeClaimControllerResizeInfeasible)) {
			now = w
			return nil
		}
		n := c.DeepCopy()
		status := map[publish.Stage]corev1.ClaimResourceStatus{publish.ResizeBegun: corev1.PersistentVolumeClaimControllerResizeInProgress,
			publish.ResizeRefused: corev1.PersistentVolumeClaimControllerResizeInfeasible, publish.ResizeOnNode: corev1.PersistentVolumeClaimNodeResizePending}[r.Stage]
		n.Status.AllocatedResourceStatuses = nil
		if status != "" {
			n.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: status}
		}
		size := corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(r.Bytes, resource.BinarySI)}
		if n.Status.AllocatedResources = size; r.Stage == publish.ResizeDone {
			n.Status.Capacity = size
		}
		if !sameStatus(c, n) {
			p.w.keepClaim(n)
		}
		now = publish.WantOf(n)
		return nil
	})
	return now, err
}

func sameStatus(a, b *corev1.PersistentVolumeClaim) bool {
	x, y := publish.WantOf(a), publish.WantOf(b)
	return x.HasBytes == y.HasBytes && x.AllocatedBytes == y.AllocatedBytes && x.Resizing == y.Resizing
}

// keepClaim takes in a claim's new form and tells the living process. The caller
// holds mu.
func (w *world) keepClaim(c *corev1.PersistentVolumeClaim) {
	w.serial++
	c.ResourceVersion = strconv.Itoa(w.serial)
	before := w.carved.claims[string(c.UID)]
	if c.DeletionTimestamp != nil {
		delete(w.carved.claims, string(c.UID))
	} else {
		w.carved.claims[string(c.UID)] = c
	}
	p := w.process
	if p == nil || p.dead || p.agent == nil {
		return
	}
	// The watch has those with the node's label, and brings the end of others.
	out := c.DeletionTimestamp != nil || c.Labels[api.LabelNode] == ""
	if out && (before == nil || before.Labels[api.LabelNode] == "") {
		return
	}
	n, claims := c.DeepCopy(), p.agent.carved.claims
	p.claims <- func() {
		if out {
			_ = claims.Delete(n)
		} else {
			_ = claims.Update(n)
		}
	}
}

// editClaim changes a claim as a user or a controller would.
func (w *world) editClaim(uid string, change func(*corev1.PersistentVolumeClaim)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.carved.claims[uid].DeepCopy()
	change(c)
	w.keepClaim(c)
}

// place makes a claim, as the scheduler and the controller leave it.
func (w *world) place(uid string, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	class, node := "carved", "node-1"
	w.keepClaim(&corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: uid, UID: types.UID(uid), Labels: map[string]string{api.LabelNode: publish.NodeLabelValue(node)},
			Annotations: map[string]string{publish.AnnSelectedNode: node}},
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}}},
	})
}

// bindCarved does what the volume controller and the kubelet do: it binds claims
// to PVs that are for them, and has filesystems grown.
func (w *world) bindCarved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(w.carved.claims)) {
		if c := w.carved.claims[uid].DeepCopy(); publish.WantOf(c).Resizing == string(corev1.PersistentVolumeClaimNodeResizePending) {
			c.Status.AllocatedResourceStatuses, c.Status.Capacity = nil, c.Status.AllocatedResources
			w.keepClaim(c)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.pvs)) {
		pv := w.pvs[name]
		if pv.Spec.CSI == nil || pv.Spec.ClaimRef == nil || pv.Status.Phase == corev1.VolumeBound {
			continue
		}
		c := w.carved.claims[string(pv.Spec.ClaimRef.UID)]
		n := pv.DeepCopy()
		if c == nil {
			if n.Status.Phase != corev1.VolumeReleased {
				n.Status.Phase = corev1.VolumeReleased
				w.store(n)
			}
			continue
		}
		n.Status.Phase = corev1.VolumeBound
		w.store(n)
		b := c.DeepCopy()
		b.Spec.VolumeName, b.Status.Capacity = name, pv.Spec.Capacity
		w.keepClaim(b)
	}
}

// releaseCarved deletes a claim.
func (w *world) releaseCarved(uid string) {
	now := metav1.Now()
	w.editClaim(uid, func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &now })
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pv := range w.pvs {
		if pv.Spec.ClaimRef != nil && string(pv.Spec.ClaimRef.UID) == uid {
			n := pv.DeepCopy()
			n.Status.Phase = corev1.VolumeReleased
			w.store(n)
		}
	}
}

var carvedClass = storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "carved"}, Provisioner: api.Driver, AllowVolumeExpansion: new(true)}

// carves makes a started agent look after the world's pool and claims.
func (w *world) carves(ctx context.Context, a *Agent) {
	p := w.process
	a.carved.pools, a.carved.told = fakePools{p}, fakeAPI{p}
	_ = a.classes.Update(&carvedClass)
	w.mu.Lock()
	p.agent, p.claims = a, make(chan func(), 1000)
	var list []any
	for _, c := range w.carved.claims {
		if c.Labels[api.LabelNode] != "" {
			list = append(list, c.DeepCopy())
		}
	}
	w.mu.Unlock()
	a.running.Go(func() { a.keepRoom(ctx) })
	a.poolChanged(ctx, "pool")
	_ = a.carved.claims.Replace(list, "")
	a.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case tell := <-p.claims:
				tell()
			}
		}
	})
}

// carvedState is all that is to be the same at the end, however often the agent
// died.
func (w *world) carvedState() (text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.pvs)) {
		pv := w.pvs[name]
		text += fmt.Sprintf("%s %s %s for %s\n", name, pv.Status.Phase, pv.Spec.Capacity.Storage(), pv.Spec.ClaimRef.Name)
	}
	for _, id := range slices.Sorted(maps.Keys(w.carved.store.pieces)) {
		v := w.carved.store.pieces[id]
		text += fmt.Sprintf("piece %s %d %s\n", id, v.Bytes, v.fsType)
	}
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		r := w.records[id]
		text += fmt.Sprintf("record %s %s\n", r.Entry, r.State)
	}
	for _, uid := range slices.Sorted(maps.Keys(w.carved.claims)) {
		want := publish.WantOf(w.carved.claims[uid])
		text += fmt.Sprintf("claim %s on %q has %s, %d bytes, %s\n", uid, want.Node, want.PV, want.HasBytes, want.Resizing)
	}
	return text + fmt.Sprintf("room %v\n", w.carved.room)
}
