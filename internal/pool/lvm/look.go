package lvm

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// A volume is one of the pool's logical volumes.
type volume struct {
	pool.Volume
	name string // the ID, but of a helper that another grows by
	uuid string
	tag  string // the one that says what it is: ours, making, leaving
}

func (v volume) which() host.Which { return host.Which{Name: v.name, UUID: v.uuid, Tag: v.tag} }

// A state is what LVM says of the pool at one moment.
type state struct {
	report  host.VolumeGroupReport
	volumes []volume // that are whole, by ID
	rest    []volume // that are being made, or removed
	taken   map[string]bool
}

// look reads what there is; live, how full a thin pool is now.
func (p *Pool) look(ctx context.Context, live bool) (state, error) {
	p.seenMu.Lock()
	changes := p.changes
	p.seenMu.Unlock()
	r, err := p.hands.Report(ctx, live && p.o.Thin != nil)
	if err != nil {
		return state{}, err
	}
	s, seen, err := p.sort(r)
	if err != nil {
		return state{}, err
	}
	p.seenMu.Lock()
	if p.changes == changes {
		p.seen = seen
	}
	p.seenMu.Unlock()
	return s, nil
}

// sort finds the pool's volumes in a report.
func (p *Pool) sort(r host.VolumeGroupReport) (state, map[pool.ID]volume, error) {
	s := state{report: r, taken: map[string]bool{}}
	seen := map[pool.ID]volume{}
	for _, lv := range r.Logical {
		s.taken[lv.Name] = true
		if !p.has(lv) {
			continue
		}
		v, err := read(lv)
		if err != nil {
			return state{}, nil, fmt.Errorf("the logical volume %s/%s has Berth's tag: %w; make it what it was, or take the tag off (lvchange --deltag %s)", p.o.VolumeGroup, lv.Name, err, ours)
		}
		if v.tag == ours {
			s.volumes = append(s.volumes, v)
			seen[v.ID] = v
		} else {
			s.rest = append(s.rest, v)
		}
	}
	slices.SortFunc(s.volumes, func(a, b volume) int { return cmp.Compare(a.ID, b.ID) })
	return s, seen, nil
}

// has says whether a logical volume is one of the pool's.
func (p *Pool) has(lv host.LogicalVolume) bool {
	in := ""
	if p.o.Thin != nil {
		in = p.o.Thin.Pool
	}
	return slices.Contains(lv.Tags, ours) && lv.Pool == in && lv.ThinPool == nil
}

func read(lv host.LogicalVolume) (volume, error) {
	v := volume{Volume: pool.Volume{Bytes: lv.Bytes}, name: lv.Name, uuid: lv.UUID, tag: ours}
	for _, tag := range lv.Tags {
		if mode, ok := strings.CutPrefix(tag, modeIs); ok {
			v.Mode = pool.Mode(mode)
		}
		if text, ok := strings.CutPrefix(tag, noteIs); ok {
			note, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				return v, fmt.Errorf("its note is damaged: %w", err)
			}
			v.Note = string(note)
		}
	}
	v.ID = pool.ID(strings.TrimPrefix(lv.Name, growing))
	switch {
	case slices.Contains(lv.Tags, making):
		v.tag = making
	case slices.Contains(lv.Tags, leaving):
		v.tag = leaving
	case string(v.ID) != lv.Name:
		return v, fmt.Errorf("%q is not the name of a volume", lv.Name)
	}
	return v, pool.CheckSpec(pool.Spec(v.Volume))
}

// tags are what read reads.
func tags(v volume) []string {
	all := []string{ours, modeIs + string(v.Mode)}
	if v.Note != "" {
		all = append(all, noteIs+base64.RawURLEncoding.EncodeToString([]byte(v.Note)))
	}
	if v.tag != ours {
		all = append(all, v.tag)
	}
	return all
}

// remember notes what was done to a volume.
func (p *Pool) remember(v volume) {
	p.seenMu.Lock()
	defer p.seenMu.Unlock()
	p.seen[v.ID] = v
	p.changes++
}

func (p *Pool) forget(id pool.ID) {
	p.seenMu.Lock()
	defer p.seenMu.Unlock()
	delete(p.seen, id)
	p.changes++
}

func (s state) find(id pool.ID) (volume, bool) {
	i, ok := slices.BinarySearchFunc(s.volumes, id, func(v volume, id pool.ID) int { return cmp.Compare(v.ID, id) })
	if !ok {
		return volume{}, false
	}
	return s.volumes[i], true
}

// disks are the physical volumes that can be used.
func disks(r host.VolumeGroupReport) []host.PhysicalVolume {
	return slices.DeleteFunc(slices.Clone(r.Physical), func(d host.PhysicalVolume) bool { return !d.Allocatable })
}

// A group is physical volumes that a volume's extents come from, in equal parts
// when there are stripes.
type group struct {
	on   []string // none is any
	free int64    // bytes
}

// groups are the sets of disks that volumes are striped over. They are fixed:
// LVM's own choice, by what is free, would leave room that no stripes fit in.
func (p *Pool) groups(r host.VolumeGroupReport) []group {
	all, n := disks(r), p.o.Stripes
	if n == 1 {
		one := group{}
		for _, d := range all {
			one.free += d.Free * r.ExtentBytes
		}
		return []group{one}
	}
	slices.SortFunc(all, func(a, b host.PhysicalVolume) int {
		return cmp.Or(cmp.Compare(b.Extents, a.Extents), cmp.Compare(a.UUID, b.UUID))
	})
	var groups []group
	for ; len(all) >= n; all = all[n:] {
		g := group{free: math.MaxInt64}
		for _, d := range all[:n] {
			g.on = append(g.on, d.Name)
			g.free = min(g.free, d.Free*r.ExtentBytes*int64(n))
		}
		groups = append(groups, g)
	}
	return groups
}

// roomiest is the group with the most room.
func (p *Pool) roomiest(r host.VolumeGroupReport) group {
	return slices.MaxFunc(append(p.groups(r), group{}), func(a, b group) int { return cmp.Compare(a.free, b.free) })
}

// unit is what sizes are rounded up to, in bytes.
func (p *Pool) unit(r host.VolumeGroupReport) int64 { return r.ExtentBytes * int64(p.o.Stripes) }

func roundUp(bytes, unit int64) (int64, error) {
	if bytes > math.MaxInt64-unit {
		return 0, fmt.Errorf("%w: %d bytes", pool.ErrNoRoom, bytes)
	}
	return (bytes + unit - 1) / unit * unit, nil
}

// Room is pool.Pool's. When a thin pool's metadata run low, the largest volume
// is none.
func (p *Pool) Room(ctx context.Context) (pool.Room, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.look(ctx, true)
	if err != nil {
		return pool.Room{}, err
	}
	room := p.room(s.report)
	if p.metadata(s.report) != nil {
		room.Largest = 0
	}
	return room, nil
}

func (p *Pool) room(r host.VolumeGroupReport) pool.Room {
	room, own := pool.Room{}, int64(0)
	for _, lv := range r.Logical {
		if p.has(lv) {
			own += lv.Bytes
		}
	}
	if p.o.Thin == nil {
		for _, g := range p.groups(r) {
			room.Free += g.free
		}
		room.Largest = p.roomiest(r).free
	} else {
		room.Free = p.thinFree(r)
		room.Largest = room.Free
	}
	unit := p.unit(r)
	room.Total = own + room.Free
	reserve := p.o.Reserve.Of(room.Total)
	room.Free = max(room.Free-reserve, 0) / unit * unit
	room.Largest = min(room.Largest, room.Free)
	room.Total = own + room.Free
	return room
}

// thinFree is what the thin pool may promise and has not, to whomever.
func (p *Pool) thinFree(r host.VolumeGroupReport) (free int64) {
	for _, lv := range r.Logical {
		switch p.o.Thin.Pool {
		case lv.Name:
			if most := float64(lv.Bytes) * p.o.Thin.Overprovision; most < math.MaxInt64/2 {
				free += int64(most)
			} else {
				free += math.MaxInt64 / 2
			}
		case lv.Pool:
			free -= lv.Bytes
		}
	}
	return free
}

// metadata is pool.ErrNoRoom while the thin pool's metadata run low.
func (p *Pool) metadata(r host.VolumeGroupReport) error {
	if p.o.Thin == nil {
		return nil
	}
	for _, lv := range r.Logical {
		if lv.Name != p.o.Thin.Pool || lv.ThinPool == nil {
			continue
		}
		left := 100 - lv.ThinPool.MetadataUsed
		switch {
		case !lv.ThinPool.Active:
			return fmt.Errorf("%w: the thin pool %s is not active, so how full it is cannot be seen; activate it (lvchange --activate y)", pool.ErrNoRoom, lv.Name)
		case left < float64(p.o.Thin.MetadataLowWater):
			return fmt.Errorf("%w: of the metadata of the thin pool %s %.1f percent are left, less than %d; make them larger (lvextend --poolmetadatasize)", pool.ErrNoRoom, lv.Name, left, p.o.Thin.MetadataLowWater)
		}
		return nil
	}
	return fmt.Errorf("%w: the thin pool %s is gone", pool.ErrNoRoom, p.o.Thin.Pool)
}

// Volumes is pool.Pool's.
func (p *Pool) Volumes(ctx context.Context) ([]pool.Volume, error) {
	s, err := p.look(ctx, false)
	if err != nil {
		return nil, err
	}
	var all []pool.Volume
	for _, v := range s.volumes {
		all = append(all, v.Volume)
	}
	return all, nil
}
