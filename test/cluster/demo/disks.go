package demo

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// disk is one that Berth is to publish.
type disk struct {
	node, path, class string
	bytes             int64
}

// noFS is the filesystem of a disk without one.
const noFS = "none"

// prepare takes away what an earlier telling left.
func (s *story) prepare(ctx context.Context) error {
	s.begin("making room for the story")
	var err error
	if s.pvs, err = pvwatch.Watch(context.WithoutCancel(ctx), s.c.Client()); err != nil {
		return err
	}
	if s.space, err = workload.Open(ctx, s.c.Client(), Namespace); err != nil {
		return err
	}
	if err := s.space.Empty(ctx); err != nil {
		return err
	}
	status, err := s.c.Status(ctx)
	if err != nil {
		return err
	}
	removed := false
	for _, n := range status.Nodes {
		for _, d := range n.Disks {
			if d.Name == lateDisk {
				removed = true
				if err := s.c.Node(n.Name).RemoveDisk(ctx, d.Name); err != nil {
					return err
				}
				continue
			}
			if d.Pool {
				s.pooled = append(s.pooled, n.Name)
				continue
			}
			at := disk{node: n.Name, path: path.Join(cluster.DisksDir, d.Name), class: fast, bytes: d.Bytes}
			if d.FS == noFS {
				at.path, at.class = path.Join(cluster.BlocksDir, d.Name), raw
			}
			s.disks = append(s.disks, at)
		}
	}
	if removed {
		s.tell("took away what the last demo left")
	}
	return nil
}

// find waits until each disk has an Available PersistentVolume that is right.
func (s *story) find(ctx context.Context) error {
	s.begin("waiting for the disks to be published")
	if err := s.available(ctx); err != nil {
		return err
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "PERSISTENTVOLUME\tCLASS\tMODE\tCAPACITY\tNODE\tPATH\tSTATUS")
	all := s.pvs.All()
	for _, d := range s.disks {
		pv := pvwatch.Find(all, d.node, d.path)
		if pv == nil {
			return unmet("a PersistentVolume for "+d.node+":"+d.path, "none any more")
		}
		if err := d.check(pv); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\t%s\t%s\t%s\t%s\t%s\t%s", pv.Name, pv.Spec.StorageClassName, *pv.Spec.VolumeMode,
			pv.Spec.Capacity.Storage(), d.node, d.path, pv.Status.Phase)
	}
	w.Flush()
	s.tell("%d disks are found and published, each on its node:", len(s.disks))
	s.note("%s", table.String())
	return nil
}

// available waits until every disk has an Available PersistentVolume, and no
// PersistentVolume is left of the late disk.
func (s *story) available(ctx context.Context) error {
	want := fmt.Sprintf("%d PersistentVolumes Available", len(s.disks))
	err := s.pvs.Wait(ctx, want, func(all []*corev1.PersistentVolume) error {
		var wrong []string
		for _, d := range s.disks {
			pv := pvwatch.Find(all, d.node, d.path)
			switch {
			case pv == nil:
				wrong = append(wrong, fmt.Sprintf("none for %s:%s", d.node, d.path))
			case pv.Status.Phase != corev1.VolumeAvailable || pv.DeletionTimestamp != nil:
				wrong = append(wrong, says(pv))
			}
		}
		for _, pv := range all {
			if pv.Spec.Local != nil && path.Base(pv.Spec.Local.Path) == lateDisk {
				wrong = append(wrong, "one of the last demo: "+says(pv))
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
		return nil
	})
	if err != nil {
		return unmet(want, err)
	}
	return nil
}

// says is a PersistentVolume's state in a line.
func says(pv *corev1.PersistentVolume) string {
	text := fmt.Sprintf("%s (%s) is %s", pv.Name, pv.Spec.Local.Path, pv.Status.Phase)
	if pv.DeletionTimestamp != nil {
		text += ", being deleted"
	}
	if c := pv.Spec.ClaimRef; c != nil {
		text += fmt.Sprintf(" for claim %s/%s", c.Namespace, c.Name)
	}
	return text
}

// check compares a PersistentVolume with its disk. Of a filesystem, some room
// is its own; an eighth is generous.
func (d disk) check(pv *corev1.PersistentVolume) error {
	bytes := pv.Spec.Capacity.Storage().Value()
	if bytes > d.bytes || bytes < d.bytes/8*7 {
		return unmet(fmt.Sprintf("a capacity for %s of at most %d bytes, and little less", pv.Name, d.bytes), bytes)
	}
	if pv.Spec.StorageClassName != d.class {
		return unmet("class "+d.class+" for "+pv.Name, pv.Spec.StorageClassName)
	}
	mode := corev1.PersistentVolumeFilesystem
	if d.class == raw {
		mode = corev1.PersistentVolumeBlock
	}
	if *pv.Spec.VolumeMode != mode {
		return unmet(fmt.Sprintf("volume mode %s for %s", mode, pv.Name), *pv.Spec.VolumeMode)
	}
	return nil
}

// promised is within which time a mounted disk is to be published.
const promised = 100 * time.Millisecond

// mountLate mounts a disk, and measures from the mount to its PersistentVolume.
func (s *story) mountLate(ctx context.Context) error {
	n := s.disks[0].node
	begun := time.Now()
	_, mounted, err := s.c.Node(n).AddDisk(ctx, cluster.Disk{Name: lateDisk, FS: "ext4", Bytes: 256 << 20})
	if err != nil {
		return err
	}
	at := path.Join(cluster.DisksDir, lateDisk)
	ctx, cancel := context.WithDeadlineCause(ctx, mounted.Add(5*time.Second), errors.New("not within 5 s"))
	defer cancel()
	want := "a PersistentVolume for " + n + ":" + at
	if err := s.pvs.Wait(ctx, want, func(all []*corev1.PersistentVolume) error {
		if pvwatch.Find(all, n, at) == nil {
			return errors.New("there is none")
		}
		return nil
	}); err != nil {
		return unmet(want, err)
	}
	first, _ := s.pvs.First(begun, func(seen pvwatch.Seen) bool {
		return pvwatch.Find([]*corev1.PersistentVolume{seen.PV}, n, at) != nil
	})
	s.took = first.At.Sub(mounted)
	return nil
}

// arrive tells of the disk that was mounted while the pods ran.
func (s *story) arrive(ctx context.Context) error {
	s.begin("waiting for a disk that is mounted meanwhile")
	select {
	case err := <-s.late:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return unmet("a new disk, published", context.Cause(ctx))
	}
	over := ""
	if s.took > promised {
		over = fmt.Sprintf(" (over %d ms: the machine is busy)", promised.Milliseconds())
	}
	s.tell("a disk mounted while these pods were writing was published %d ms later%s", s.took.Milliseconds(), over)
	return nil
}
