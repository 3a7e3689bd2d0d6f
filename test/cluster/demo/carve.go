package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// What the StatefulSet's claims ask for, and what they are grown to.
const (
	asked = 128 * mebi
	grown = 256 * mebi
)

// The pods of the StatefulSet append to a file, whenever there is room, until they
// are refused, and say then how far they got.
var writers = workload.Pod{
	Name:   "db",
	Claims: []workload.Claim{{Name: "data", Class: carved, Bytes: asked}},
	Script: `trap 'exit 0' TERM
had=0; n=0
while :; do
  said=$(dd if=/dev/zero bs=1M 2>&1 >>/data/load | sed -n '1s/.*: //p')
  has=$(stat -c %s /data/load)
  if [ $has -gt $((had + 1048576)) ]; then n=$((n + 1)); had=$has; echo "full-$n $has $said"; fi
  sleep 0.2
done`,
}

const writerReplicas = 2

// enough is how much less than its size a volume may hold: the filesystem keeps
// its own books there, too.
const enough = mebi

// carve creates the StatefulSet and waits until each pod has filled its volume.
func (s *story) carve(ctx context.Context) error {
	s.begin("waiting for a StatefulSet of two, with volumes carved for it")
	if err := s.space.CreateSet(ctx, writerReplicas, writers); err != nil {
		return err
	}
	var lines []string
	taken := rooms{}
	for i := range writerReplicas {
		pod := fmt.Sprintf("%s-%d", writers.Name, i)
		wrote, err := s.filled(ctx, pod, "full-1", asked)
		if err != nil {
			return err
		}
		at, err := s.space.Placement(ctx, pod)
		if err != nil {
			return err
		}
		if err := s.checkCarved(at, asked); err != nil {
			return err
		}
		s.carved = append(s.carved, at)
		taken[at.Node] += asked
		lines = append(lines, fmt.Sprintf("%s on %s, claim %s, %s", pod, at.Node, at.Claim, wrote))
	}
	if err := s.expect(ctx, s.before.less(taken)); err != nil {
		return err
	}
	s.tell("a StatefulSet of %d runs; volumes of %s were carved where the scheduler placed it:", writerReplicas, inMebi(asked))
	s.note("%s", strings.Join(lines, "\n"))
	return nil
}

// filled waits until a pod says that its volume is full, and checks that it is at
// its size, and by its quota.
func (s *story) filled(ctx context.Context, pod, word string, bytes int64) (wrote string, err error) {
	said, err := s.space.WaitSaid(ctx, pod, word)
	if err != nil {
		return "", unmet("pod "+pod+" fills its volume", err)
	}
	number, why, _ := strings.Cut(said, " ")
	has, err := strconv.ParseInt(number, 10, 64)
	const quota = "Disk quota exceeded"
	if err != nil || has > bytes || has < bytes-enough || why != quota {
		return "", unmet(fmt.Sprintf("pod %s to write %d bytes, or little less, and then: %s", pod, bytes, quota), said)
	}
	return "wrote " + inMebi(has) + ", then: " + why, nil
}

// checkCarved checks the volume of a pod: Berth's, of the size, on the pod's node.
func (s *story) checkCarved(at workload.Placed, bytes int64) error {
	for _, pv := range s.pvs.All() {
		if pv.Name != at.PV {
			continue
		}
		if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != api.Driver {
			return unmet(pv.Name+" to be of the CSI driver "+api.Driver, pv.Spec.PersistentVolumeSource)
		}
		if got := pv.Spec.Capacity.Storage().Value(); got != bytes {
			return unmet(fmt.Sprintf("a capacity for %s of %d bytes", pv.Name, bytes), got)
		}
		if n := pvwatch.Node(pv); n != at.Node {
			return unmet(fmt.Sprintf("pod %s on %s, where its volume is", at.Pod, n), at.Node)
		}
		return nil
	}
	return unmet("claim "+at.Claim+" bound to a volume that exists", at.PV)
}

// grow makes the claims larger, and waits until each pod has filled the rest.
func (s *story) grow(ctx context.Context) error {
	s.begin("waiting for volumes to grow under their pods")
	claims := s.c.Client().CoreV1().PersistentVolumeClaims(Namespace)
	for _, at := range s.carved {
		patch := fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":"%d"}}}}`, int64(grown))
		if _, err := claims.Patch(ctx, at.Claim, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("growing claim %s: %w", at.Claim, err)
		}
	}
	var lines []string
	taken := rooms{}
	for _, at := range s.carved {
		wrote, err := s.filled(ctx, at.Pod, "full-2", grown)
		if err != nil {
			return err
		}
		now, err := s.space.Placement(ctx, at.Pod)
		if err != nil {
			return err
		}
		if now != at {
			return unmet(fmt.Sprintf("the same pod %s, %s, on %s", at.Pod, at.UID, at.Node), fmt.Sprintf("%s on %s", now.UID, now.Node))
		}
		if err := s.checkGrown(ctx, at); err != nil {
			return err
		}
		taken[at.Node] += grown
		lines = append(lines, at.Pod+" "+wrote)
	}
	if err := s.expect(ctx, s.before.less(taken)); err != nil {
		return err
	}
	s.tell("their claims were patched to %s; without a restart the pods had room again:", inMebi(grown))
	s.note("%s", strings.Join(lines, "\n"))
	return nil
}

// checkGrown waits until claim and PersistentVolume say the new size.
func (s *story) checkGrown(ctx context.Context, at workload.Placed) error {
	err := workload.Until(ctx, "claim "+at.Claim+" to have grown", func(ctx context.Context) error {
		c, err := s.c.Client().CoreV1().PersistentVolumeClaims(Namespace).Get(ctx, at.Claim, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if has := c.Status.Capacity[corev1.ResourceStorage]; has.Value() != grown {
			return fmt.Errorf("its status has %s", &has)
		}
		return s.checkCarved(at, grown)
	})
	if err != nil {
		return unmet(fmt.Sprintf("claim %s and its volume to say %d bytes", at.Claim, int64(grown)), err)
	}
	return nil
}

// inMebi is a size for people.
func inMebi(bytes int64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(bytes)/mebi), ".00") + " MiB"
}
