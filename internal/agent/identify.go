package agent

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// unidentified is the name under which a PV without a known disk is worked on.
func unidentified(pv string) volume.ID { return volume.ID("pv/" + pv) }

// identify finds out which disk a PV of the established provisioner is of, and
// until that is known keeps the promises that need no disk.
func (a *Agent) identify(ctx context.Context, name string) (retry time.Duration) {
	subject := volumeSubject(unidentified(name))
	found := a.store.Unidentified(func(pv volume.PV) bool { return pv.Name == name })
	class, managed := config.Class{}, false
	if len(found) > 0 {
		class, managed = a.class(found[0].Class)
	} else {
		a.reports.clear(misfitSubject(name)) // one that is not the node's is gone
	}
	if !managed { // or another disk's by now
		a.reports.clear(subject)
		a.states.forget(unidentified(name))
		a.reports.clear(foreignSubject(name))
		return 0
	}
	pv := found[0]
	if identity, ok := a.byPV.Load(pv.UID); ok {
		a.settle(pv, identity.(disk.ID))
		return 0
	}
	if path.Dir(pv.Path) != class.HostDir || path.Clean(pv.Path) != pv.Path {
		a.reportForeign(name, types.UID(pv.UID), fmt.Sprintf("its path %q is not one in %s, the directory of class %s", pv.Path, class.HostDir, class.Name))
		return 0
	}
	d, known := a.slots.diskAt(key{pv.Class, path.Base(pv.Path)}, unidentified(name))
	switch s := (situation{in: volume.Input{PV: &pv}}); {
	case !known:
		return 0
	case d == nil:
		return a.diskless(ctx, s)
	case pv.Block && !d.Device:
		a.reportVolume(unidentified(name), s, api.ReasonDiskGone, fmt.Sprintf("PV %s is of volume mode Block, but a directory is mounted at %s", name, pv.Path))
		return a.tellState(ctx, unidentified(name), &s, 0)
	default:
		a.settle(pv, d.Identity)
		return 0
	}
}

// identifyAt takes the unidentified PV at a disk's place for the disk's, and
// reports whether there was one.
func (a *Agent) identifyAt(d volume.Disk) bool {
	found := a.store.Unidentified(func(pv volume.PV) bool { return pv.Class == d.Class && pv.Path == d.Path })
	for _, pv := range found {
		if _, known := a.byPV.Load(pv.UID); known || pv.Block && !d.Device {
			continue
		}
		a.store.Identify(pv, d.Identity)
		a.reports.clear(volumeSubject(unidentified(pv.Name)))
		a.states.rename(unidentified(pv.Name), volume.IDOf(d.Identity))
		return true
	}
	return false
}

// settle says which disk a PV is of, and has the volume looked at.
func (a *Agent) settle(pv volume.PV, identity disk.ID) {
	a.store.Identify(pv, identity)
	a.reports.clear(volumeSubject(unidentified(pv.Name)))
	a.states.rename(unidentified(pv.Name), volume.IDOf(identity))
	a.volumes.kick(volume.IDOf(identity))
}

// diskless handles a PV of which it never was known what disk it is of, and
// whose place has none.
func (a *Agent) diskless(ctx context.Context, s situation) time.Duration {
	pv, id := *s.in.PV, unidentified(s.in.PV.Name)
	var err error
	switch {
	case pv.Claim != nil:
		if err = a.noteUnknown(pv); err == nil {
			a.reportVolume(id, s, api.ReasonDiskGone, fmt.Sprintf("the disk of PV %s is not there: nothing is mounted or linked at %s", pv.Name, pv.Path))
			return a.tellState(ctx, id, &s, 0)
		}
	case !pv.Deleting:
		_, err = a.withdraw(ctx, pv)
	case pv.Held:
		_, err = limited(ctx, a, func() (struct{}, error) { return struct{}{}, a.cluster.LetGo(ctx, pv) })
	}
	if err != nil && ctx.Err() == nil {
		return a.failed(id, s, volume.Decision{Verb: volume.Withdraw}, err)
	}
	a.failures.Delete(id)
	a.reports.clear(volumeSubject(id))
	return 0
}

// unknownPrefix begins the identity of what stands in the journal for the disk
// of a claimed PV that was never seen.
const unknownPrefix = "unknown:"

func unknownAt(k key) disk.ID { return disk.ID(unknownPrefix + k.class + "/" + k.name) }

func unknown(identity disk.ID) bool { return strings.HasPrefix(string(identity), unknownPrefix) }

// noteUnknown remembers that whatever comes to a PV's place may hold a tenant's
// data, should the PV be gone by then.
func (a *Agent) noteUnknown(pv volume.PV) error {
	k := key{pv.Class, path.Base(pv.Path)}
	id := volume.IDOf(unknownAt(k))
	if r, ok := a.journal.Get(id); ok && r.State == volume.Used && r.PV.UID == pv.UID {
		return nil
	}
	return a.keep(volume.Record{ID: id, Identity: unknownAt(k), Class: k.class, Entry: k.name, State: volume.Used,
		PV: volume.PVRef{Name: pv.Name, UID: pv.UID, Version: pv.ResourceVersion}, Claim: pv.Claim})
}

// inherited is the record of a disk that is seen for the first time, at a place
// whose disk was a claim's and was never seen. It is nil elsewhere.
func (a *Agent) inherited(d *volume.Disk) *volume.Record {
	r, ok := a.journal.Get(volume.IDOf(unknownAt(key{d.Class, d.Entry})))
	if !ok || r.State != volume.Used {
		return nil
	}
	r.ID, r.Identity = volume.IDOf(d.Identity), d.Identity
	return &r
}

// forgetUnknown ends what noteUnknown began, once the journal knows the disk.
func (a *Agent) forgetUnknown(known volume.Record) error {
	r, ok := a.journal.Get(volume.IDOf(unknownAt(key{known.Class, known.Entry})))
	if !ok || r.State != volume.Used || unknown(known.Identity) {
		return nil
	}
	r.State = volume.Clean
	return a.keep(r)
}

// misplaced says why a PV with an identity is not obeyed, "" when it is: a found
// volume's must point into its class's directory, unless the journal knows it, from before the
// class got another directory.
func (a *Agent) misplaced(pv volume.PV) string {
	class, managed := a.class(pv.Class)
	if _, known := a.byPV.Load(pv.UID); known || !managed || pv.Handle != "" || path.Dir(pv.Path) == class.HostDir && path.Clean(pv.Path) == pv.Path {
		return ""
	}
	return fmt.Sprintf("its path %q is not one in %s, the directory of class %s", pv.Path, class.HostDir, class.Name)
}

// pvOf picks the PV of a volume out of those that name its disk, and tells the
// operator of those that do so wrongly.
func (a *Agent) pvOf(pvs []volume.PV) *volume.PV {
	var chosen *volume.PV
	for _, pv := range pvs {
		why := a.misplaced(pv)
		switch {
		case why == "" && chosen == nil:
			chosen = &pv
			a.reports.clear(foreignSubject(pv.Name))
			continue
		case why == "":
			why = fmt.Sprintf("it is of the same disk as PV %s", chosen.Name)
		}
		a.reportForeign(pv.Name, types.UID(pv.UID), why)
	}
	return chosen
}

// class returns a class of the configuration in force.
func (a *Agent) class(name string) (config.Class, bool) {
	for _, c := range a.config().Classes {
		if c.Name == name {
			return c, true
		}
	}
	return config.Class{}, false
}
