//go:build vm

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/vm"
)

// phase waits until a volume's PV is the one it had and has a phase.
func (n *node) phase(t *testing.T, v *volume, phase corev1.PersistentVolumePhase) {
	t.Helper()
	await(t, fmt.Sprintf("the PV of %s to be %s", v.path(), phase), func(ctx context.Context) error {
		pvs, err := n.pvs(ctx)
		if pv := pvs[v.path()]; err == nil && (string(pv.UID) != v.uid || pv.Status.Phase != phase) {
			err = fmt.Errorf("it is %s", pv.Status.Phase)
		}
		return err
	})
}

// TestVMGoneAndBack pulls disks whose volumes are available, bound, released and
// in the middle of their wipe, and then boots the machine with all of them, in
// other slots and under other names. Each volume goes on from where it was.
func TestVMGoneAndBack(t *testing.T) {
	free, taken, released, wiped := rawVolume("RAW-FREE"), rawVolume("RAW-TAKEN"), rawVolume("RAW-RELEASED"), rawVolume("RAW-WIPED")
	wiped.Bytes = 24 * mib // longer than it takes to pull it
	n := boot(t, 20, free, taken, released, wiped)
	n.start(t)
	names := n.names(t)
	if err := together(t.Context(), []*volume{taken, released, wiped}, n.occupy); err != nil {
		t.Fatal(err)
	}
	if _, err := n.available(t.Context(), free); err != nil {
		t.Fatal(err)
	}

	if err := n.release(t.Context(), wiped); err != nil {
		t.Fatal(err)
	}
	n.journal(t, "a wipe to be under way", `"state":"Wiping".*"offset":[1-9]`)
	for _, v := range []*volume{wiped, free, taken, released} {
		if err := n.PullDisk(t.Context(), v.Serial); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the PV of a free disk that is gone to be withdrawn", func(ctx context.Context) error {
		pvs, err := n.pvs(ctx)
		if _, ok := pvs[free.path()]; err == nil && ok {
			err = errors.New("it is there")
		}
		return err
	})
	n.event(t, api.ReasonDiskGone, "raw-taken")
	if err := n.release(t.Context(), released); err != nil {
		t.Fatal(err)
	}
	n.phase(t, released, corev1.VolumeReleased)
	n.phase(t, wiped, corev1.VolumeReleased)
	n.phase(t, taken, corev1.VolumeBound)

	// All are there again, and none where it was.
	if err := n.Reboot(t.Context(), wiped.Serial, free.Serial, journalDisk, released.Serial, taken.Serial); err != nil {
		t.Fatal(err)
	}
	n.over(t)
	n.setUp(t)
	n.check(t)
	if now := n.names(t); now == names {
		t.Errorf("the disks have the names they had, so this shows nothing: %s", now)
	}
	n.start(t)
	for _, v := range []*volume{free, released, wiped} {
		if _, err := n.available(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	n.phase(t, taken, corev1.VolumeBound)
	if found := n.look(t)[taken.path()]; found[taken.secret] != taken.pieces {
		t.Errorf("%s was bound all the time and holds %v, want %d pieces of %s", taken.Serial, found, taken.pieces, taken.secret)
	}

	// Gone and back while the machine runs.
	if err := n.PullDisk(t.Context(), taken.Serial); err != nil {
		t.Fatal(err)
	}
	n.heard(t, "WARN", api.ReasonDiskGone)
	if err := n.AddDisk(t.Context(), vm.Disk{Serial: taken.Serial}); err != nil {
		t.Fatal(err)
	}
	n.heard(t, "over:", api.ReasonDiskGone)
	if found := n.look(t)[taken.path()]; found[taken.secret] != taken.pieces {
		t.Errorf("%s is back and holds %v, want %d pieces of %s", taken.Serial, found, taken.pieces, taken.secret)
	}
	n.settle(t)
}

// names is what the machine calls its disks.
func (n *node) names(t *testing.T) string {
	t.Helper()
	return n.must(t, "sh", "-c", "cd /dev/disk/by-id && for d in virtio-*; do echo $d $(readlink $d); done")
}

// journal waits for a record that matches a pattern of grep.
func (n *node) journal(t *testing.T, what, pattern string) {
	t.Helper()
	await(t, what, func(ctx context.Context) error {
		_, err := n.Output(ctx, "sh", "-c", "cat /var/lib/berth/volumes/*.json | tr -d ' \\n' | grep -q '"+pattern+"'")
		return err
	})
}
