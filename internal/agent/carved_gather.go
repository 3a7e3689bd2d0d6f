package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// Parameters of a StorageClass that carves. Others are refused by the pools.
const paramFSType = "csi.storage.k8s.io/fstype"

// carvedName is a volume's ID in its pool; false for a found volume.
func (a *Agent) carvedName(id volume.ID) (string, bool) {
	if r, ok := a.journal.Get(id); ok && r.Identity != "" {
		return volume.CarvedID(r.Identity)
	}
	if name, ok := a.carved.name(id); ok {
		return name, true
	}
	if pvs, _, _ := a.store.Get(id); len(pvs) > 0 {
		return volume.CarvedID(pvs[0].Identity)
	}
	return "", false
}

// gatherCarved fills in what is known of a volume out of a pool.
func (a *Agent) gatherCarved(id volume.ID, name string, s *situation) bool {
	in := &s.in
	in.Record, in.Disk, in.Found, in.Noted, in.Want, in.Carve, in.Unmet, in.Away, in.Looked, in.GrowTo = nil, nil, nil, nil, nil, nil, nil, "", false, 0
	in.Node, in.Token = a.node.Name, token()
	r, known := a.journal.Get(id)
	if known {
		if r.Identity == "" { // damaged; its name is a hash of this
			r.Identity, r.Entry = volume.CarvedIdentity(name), name
		}
		in.Record = &r
	}
	in.Absent = a.lookUp(id, in) || in.Absent
	in.Absent = in.Absent && in.PV == nil
	class, poolName := r.Class, ""
	if r.Carved != nil {
		poolName = r.Carved.Pool
	}
	if in.PV != nil {
		class = in.PV.Class
		if h, err := pool.ParseHandle(in.PV.Path); err == nil {
			in.Found = &volume.Carved{Pool: h.Pool, Bytes: in.PV.CapacityBytes, Block: in.PV.Block}
			if poolName == "" {
				poolName = h.Pool
			}
		}
	}
	if at, ok := a.carved.at(id); ok && (poolName == "" || at.pool == poolName) {
		poolName = at.pool
		in.Noted = at.read().claim()
		in.Disk, in.Found = a.asDisk(at)
		if class == "" {
			class = in.Disk.Class
		}
		in.Disk.Class = class
	}
	if poolName != "" {
		in.Looked = a.carved.knows(poolName)
		if why := a.carved.pools.Unfit(poolName); why != nil {
			in.Away = why.Error()
		}
	}
	if uid, ok := strings.CutPrefix(name, "pvc-"); ok {
		if w, ok := a.carved.claims.Get(uid); ok {
			in.Want = &w
			if in.PV != nil && a.mayGrow(w.Class) {
				in.GrowTo, _ = publish.Grows(w, *in.PV)
			}
			in.Carve, in.Unmet = a.offer(w)
		}
	}
	s.slot = slot{entry: entry{Class: class, Name: name}, class: config.Class{Name: class}, disk: in.Disk}
	return true
}

// asDisk is a volume as its pool has it. The class is the one that it was carved
// for.
func (a *Agent) asDisk(at piece) (*volume.Disk, *volume.Carved) {
	n, name := at.read(), string(at.volume.ID)
	return &volume.Disk{Identity: volume.CarvedIdentity(name), Class: n.Class, Entry: name, Path: a.handle(at.pool, name), CapacityBytes: at.volume.Bytes},
		&volume.Carved{Pool: at.pool, Bytes: at.volume.Bytes, Block: at.volume.Mode == pool.Block, FSType: n.FSType, Modes: n.Modes}
}

// inPoolNow is what the pool of a record has of it; nil for nothing.
func (a *Agent) inPoolNow(r volume.Record) (*volume.Disk, *volume.Carved) {
	at, ok := a.carved.at(r.ID)
	if !ok || r.Carved != nil && r.Carved.Pool != at.pool {
		return nil, nil
	}
	return a.asDisk(at)
}

// handle is what the kubelet calls a volume, and stands for its path.
func (a *Agent) handle(poolName, name string) string {
	return pool.HandleOf(a.node.Name, poolName, pool.ID(name)).String()
}

// carvedModes are the access modes that a new volume inside one node can serve.
var carvedModes = []string{string(config.ReadWriteOnce), string(config.ReadWriteOncePod)}

// offer is what a claim would get on this node now, or why it gets nothing. Both
// are nil while its StorageClass is not known, and for one that is not Berth's.
func (a *Agent) offer(w volume.Want) (*volume.Carved, *volume.Refusal) {
	class, ok := a.classes.Get(w.Class)
	if !ok || class.Provisioner != api.Driver {
		return nil, nil
	}
	for _, mode := range w.AccessModes {
		if !slices.Contains(carvedModes, mode) {
			return nil, &volume.Refusal{Message: fmt.Sprintf("the access mode %s cannot be had of a disk inside one node; allowed: %s", mode, strings.Join(carvedModes, ", "))}
		}
	}
	if w.Unable != "" {
		return nil, &volume.Refusal{Message: fmt.Sprintf("the claim asks for %s, which no pool gives; leave it out", w.Unable)}
	}
	name, err := a.carved.pools.ForClass(w.Class, class.Parameters)
	if err != nil {
		return nil, &volume.Refusal{Message: err.Error()}
	}
	p, open := a.carved.pools.Get(name)
	switch {
	case name == "":
		return nil, &volume.Refusal{Message: fmt.Sprintf("node %s has no pool for StorageClass %s", a.node.Name, w.Class), Elsewhere: true}
	case !open:
		return nil, &volume.Refusal{Message: fmt.Sprintf("pool %s of node %s cannot be used: %v", name, a.node.Name, a.carved.pools.Unfit(name)), Elsewhere: true}
	}
	c := &volume.Carved{Pool: name, Bytes: w.Bytes, Block: w.Block, Modes: w.AccessModes}
	fsType := class.Parameters[paramFSType]
	switch device := p.Features().Device; {
	case !device && fsType != "":
		return nil, &volume.Refusal{Message: fmt.Sprintf("StorageClass %s asks for the filesystem %q, and pool %s is of directories, whose filesystem is there already; leave the parameter %s out", w.Class, fsType, name, paramFSType)}
	case device && !w.Block:
		if c.FSType = cmp.Or(fsType, host.DefaultFilesystem); !slices.Contains(host.Filesystems(), c.FSType) {
			return nil, &volume.Refusal{Message: fmt.Sprintf("StorageClass %s asks for the filesystem %q; allowed in %s: %s", w.Class, fsType, paramFSType, strings.Join(host.Filesystems(), ", "))}
		}
	}
	return c, nil
}
