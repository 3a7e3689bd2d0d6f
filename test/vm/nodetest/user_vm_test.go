//go:build vm

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The steps of a volume's life as its user sees them.
const (
	bound    = "bound"
	written  = "written"
	released = "released"
	clean    = "clean"
)

// available waits for a PV of the volume that anybody may claim, other than the
// one it had, and checks that it holds nothing of anybody.
func (n *node) available(ctx context.Context, v *volume) (pv corev1.PersistentVolume, err error) {
	err = until(ctx, v.path()+" to be available", func(ctx context.Context) error {
		pvs, err := n.pvs(ctx)
		if err != nil {
			return err
		}
		var ok bool
		switch pv, ok = pvs[v.path()]; {
		case !ok:
			return errors.New("it has no PV")
		case string(pv.UID) == v.uid:
			return fmt.Errorf("it has its old PV, %s %s", pv.Name, pv.Status.Phase)
		case pv.Spec.ClaimRef != nil || pv.DeletionTimestamp != nil || pv.Status.Phase != corev1.VolumeAvailable:
			return fmt.Errorf("PV %s is %s", pv.Name, pv.Status.Phase)
		}
		return nil
	})
	return pv, err
}

// bind claims a volume that is available, or goes on with that.
func (n *node) bind(ctx context.Context, v *volume) error {
	if v.claim == "" {
		pv, err := n.available(ctx, v)
		if err != nil {
			return err
		}
		v.cycle++
		v.claim, v.uid = fmt.Sprintf("%s-%d", strings.ToLower(v.Serial), v.cycle), string(pv.UID)
		v.secret = "SECRET-" + v.Serial + "-" + strconv.Itoa(v.cycle)
	}
	return until(ctx, v.claim+" to be bound", func(ctx context.Context) error {
		pvs, err := n.pvs(ctx)
		pv := pvs[v.path()]
		switch {
		case err != nil:
			return err
		case string(pv.UID) != v.uid:
			return fmt.Errorf("the PV of %s is %q now", v.path(), pv.UID)
		case pv.Status.Phase == corev1.VolumeBound:
			return nil
		}
		if err := n.kube.claim(ctx, v.claim, pv); err != nil {
			return err
		}
		return fmt.Errorf("PV %s is %s", pv.Name, pv.Status.Phase)
	})
}

// write does what the tenant does with a bound volume.
func (n *node) write(ctx context.Context, v *volume, sync bool) error {
	args := []string{"/host/tenant", "write", v.path(), v.secret, strconv.Itoa(v.pieces)}
	if sync {
		args = append(args, "sync")
	}
	out, err := n.Output(ctx, args...)
	if err != nil {
		return fmt.Errorf("writing %s: %w\n%s", v.secret, err, out)
	}
	v.kept = v.kept || sync
	return nil
}

// release deletes the volume's claim. It is not interrupted: whether the API
// server has done it would not be known.
func (n *node) release(ctx context.Context, v *volume) error {
	v.kept = false
	if err := n.kube.release(context.WithoutCancel(ctx), v.claim); err != nil {
		return err
	}
	v.claim = ""
	return nil
}

// look returns the secrets in the volumes, with how many pieces there are of
// each, by the volumes' paths.
func (n *node) look(t *testing.T) map[string]map[string]int {
	t.Helper()
	found, args := map[string]map[string]int{}, []string{"/host/tenant", "look"}
	for _, v := range n.volumes {
		args, found[v.path()] = append(args, v.path()), map[string]int{}
	}
	for line := range strings.Lines(n.must(t, args...)) {
		var path, secret string
		var pieces int
		if _, err := fmt.Sscan(line, &path, &secret, &pieces); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		found[path][secret] = pieces
	}
	return found
}

// check holds what is on the disks against what the API server says of them.
// The agent does not run.
func (n *node) check(t *testing.T) {
	t.Helper()
	if out := n.must(t, "sh", "-c", "ls /var/lib/berth/volumes | grep damaged || true"); out != "" {
		t.Errorf("the journal is damaged: %s", out)
	}
	found := n.look(t)
	pvs, err := n.pvs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range n.volumes {
		pv, published := pvs[v.path()]
		mine := string(pv.UID) == v.uid
		for secret, pieces := range found[v.path()] {
			// The user's own PV may have what its own claim wrote, and the rest of
			// it while it is wiped; any other may be anybody's.
			if published && (!mine || pv.Spec.ClaimRef == nil || secret != v.secret && secret != "other") {
				t.Errorf("PV %s (%s) of %s, whose user wrote %q, holds %d pieces of %s", pv.Name, pv.Status.Phase, v.Serial, v.secret, pieces, secret)
			}
		}
		if got := found[v.path()][v.secret]; v.kept && got != v.pieces {
			t.Errorf("%s is bound to %s and has %d pieces of %s, want %d", v.Serial, v.claim, got, v.secret, v.pieces)
		}
	}
}

// settle leaves the volumes alone until all are available, and looks at them.
func (n *node) settle(t *testing.T) {
	t.Helper()
	for _, v := range n.volumes {
		if v.claim != "" {
			if err := n.release(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.available(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	for path, secrets := range n.look(t) {
		if len(secrets) > 0 {
			t.Errorf("%s is available and holds %v", path, secrets)
		}
	}
	if line := n.said.line("Quarantined"); line != "" {
		t.Errorf("the agent says %s", line)
	}
}
