package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// carved is the class of the volumes that are carved out of the nodes' pools.
const carved = cluster.PoolClass

// rooms is what each node has left for new volumes, in bytes, as the scheduler is
// told it.
type rooms map[string]int64

func (r rooms) String() string {
	var lines []string
	for _, n := range slices.Sorted(maps.Keys(r)) {
		lines = append(lines, fmt.Sprintf("%s  %d bytes", n, r[n]))
	}
	return strings.Join(lines, "\n")
}

// less is the room after volumes were carved, by node.
func (r rooms) less(taken rooms) rooms {
	left := maps.Clone(r)
	for n, bytes := range taken {
		left[n] -= bytes
	}
	return left
}

// look reads the room of each node.
func (s *story) look(ctx context.Context) (rooms, error) {
	list, err := s.c.Client().StorageV1().CSIStorageCapacities(cluster.BerthNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading storage capacity: %w", err)
	}
	all := rooms{}
	for _, c := range list.Items {
		if c.StorageClassName == carved && c.NodeTopology != nil && c.Capacity != nil {
			all[c.NodeTopology.MatchLabels[api.LabelNode]] = c.Capacity.Value()
		}
	}
	return all, nil
}

// expect waits until the scheduler is told exactly this room.
func (s *story) expect(ctx context.Context, want rooms) error {
	err := workload.Until(ctx, "the room on the nodes", func(ctx context.Context) error {
		now, err := s.look(ctx)
		if err == nil && !maps.Equal(now, want) {
			err = errors.New(now.String())
		}
		return err
	})
	if err != nil {
		return unmet("storage capacity of\n"+want.String(), err)
	}
	return nil
}

// noneCarved waits until no volume is left that was carved for the story.
func (s *story) noneCarved(ctx context.Context) error {
	const want = "no PersistentVolume of class " + carved + " for a claim in " + Namespace
	err := s.pvs.Wait(ctx, want, func(all []*corev1.PersistentVolume) error {
		for _, pv := range all {
			if c := pv.Spec.ClaimRef; pv.Spec.StorageClassName == carved && c != nil && c.Namespace == Namespace {
				return fmt.Errorf("%s is %s, for claim %s", pv.Name, pv.Status.Phase, c.Name)
			}
		}
		return nil
	})
	if err != nil {
		return unmet(want, err)
	}
	return nil
}

// pools notes what room the nodes' pools have.
func (s *story) pools(ctx context.Context) error {
	s.begin("waiting for the room in the nodes' pools")
	if err := s.noneCarved(ctx); err != nil {
		return err
	}
	err := workload.Until(ctx, "the room on the nodes", func(ctx context.Context) (err error) {
		s.before, err = s.look(ctx)
		for _, n := range s.pooled {
			if err == nil && s.before[n] == 0 {
				err = errors.New("none is told of " + n)
			}
		}
		return err
	})
	if err != nil {
		return unmet("storage capacity of each node's pool", err)
	}
	s.tell("each node has a pool for carving, %s; the scheduler knows its room:", cluster.PoolDir)
	s.note("%s", s.before)
	return nil
}

// giveBack deletes everything, and compares the pools with what they were.
func (s *story) giveBack(ctx context.Context) error {
	s.begin("waiting for the pools to have their space back")
	if err := s.space.Empty(ctx); err != nil {
		return unmet("pods and claims go away", err)
	}
	if err := s.noneCarved(ctx); err != nil {
		return err
	}
	if err := s.expect(ctx, s.before); err != nil {
		return err
	}
	for _, n := range s.pooled {
		left, err := s.c.Node(n).Exec(ctx, "ls", "-A", cluster.PoolDir)
		if err != nil {
			return err
		}
		if left != "" {
			return unmet("nothing in "+cluster.PoolDir+" of "+n, left)
		}
	}
	s.tell("everything is deleted; the pools are empty, and their room is what it was, to the byte:")
	s.note("%s", s.before)
	return nil
}
