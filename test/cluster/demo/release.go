package demo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/pvwatch"
)

// release deletes everything and measures, for each volume, from its release to
// its next PersistentVolume being Available.
func (s *story) release(ctx context.Context) error {
	s.begin("waiting for released volumes to be wiped and published anew")
	begun := time.Now()
	if err := s.space.Delete(ctx); err != nil {
		return err
	}
	if err := s.space.WaitEmpty(ctx); err != nil {
		return unmet("pods and claims go away", err)
	}
	if err := s.availableAgain(ctx); err != nil {
		return err
	}
	slowest, slowestPath := time.Duration(0), ""
	for _, pv := range s.used {
		took, err := s.reuse(begun, pv)
		if err != nil {
			return err
		}
		if took > slowest {
			slowest, slowestPath = took, pv.Spec.Local.Path
		}
	}
	how, err := s.wipes(ctx, begun)
	if err != nil {
		return err
	}
	over := ""
	if slowest > time.Second {
		over = "\n(over 1 s: a busy machine, or a slow disk)"
	}
	s.tell("all pods and claims are deleted; their %d volumes are wiped, the wipe is verified, and they\n"+
		"are Available again, the slowest %.2f s after its release (%s)%s:", len(s.used), slowest.Seconds(), slowestPath, over)
	for i, pv := range s.used {
		s.note("%s  %s", pv.Name, how[i])
	}
	return nil
}

// availableAgain waits until each volume that was used has a PersistentVolume
// other than the one that was used, and that is Available.
func (s *story) availableAgain(ctx context.Context) error {
	want := fmt.Sprintf("%d volumes, published anew and Available", len(s.used))
	err := s.pvs.Wait(ctx, want, func(all []*corev1.PersistentVolume) error {
		var wrong []string
		for _, old := range s.used {
			pv := pvwatch.Find(all, pvwatch.Node(old), old.Spec.Local.Path)
			switch {
			case pv == nil:
				wrong = append(wrong, "none for "+old.Spec.Local.Path)
			case pv.UID == old.UID || pv.Status.Phase != corev1.VolumeAvailable:
				wrong = append(wrong, says(pv))
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

// reuse is the time from a PersistentVolume's release to the next one's being
// Available.
func (s *story) reuse(since time.Time, old *corev1.PersistentVolume) (time.Duration, error) {
	released, ok := s.pvs.First(since, func(seen pvwatch.Seen) bool {
		return seen.PV.UID == old.UID && seen.PV.Status.Phase == corev1.VolumeReleased
	})
	if !ok {
		return 0, unmet(old.Name+" to be Released before it is published anew", "it never was")
	}
	again, ok := s.pvs.First(released.At, func(seen pvwatch.Seen) bool {
		return seen.PV.Name == old.Name && seen.PV.UID != old.UID && seen.PV.Status.Phase == corev1.VolumeAvailable
	})
	if !ok {
		return 0, unmet(old.Name+" to be Available again under its name", "it is not")
	}
	return again.At.Sub(released.At), nil
}

// method finds the way of a wipe in the agent's log.
var method = regexp.MustCompile(`\bmethod=(\S+)`)

// wipes finds, for each volume that was used, that its agent says that it has
// wiped and verified it, and how.
func (s *story) wipes(ctx context.Context, since time.Time) ([]string, error) {
	pods, err := s.c.Client().CoreV1().Pods(cluster.BerthNamespace).List(ctx, metav1.ListOptions{LabelSelector: agents})
	if err != nil {
		return nil, fmt.Errorf("listing Berth's pods: %w", err)
	}
	logs := map[string]string{}
	from := metav1.NewTime(since.Add(-time.Second)) // the API counts whole seconds
	for _, p := range pods.Items {
		data, err := s.c.Client().CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{SinceTime: &from}).DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the log of pod %s: %w", p.Name, err)
		}
		logs[p.Spec.NodeName] += string(data)
	}
	how := make([]string, len(s.used))
	for i, pv := range s.used {
		for line := range strings.Lines(logs[pvwatch.Node(pv)]) {
			if strings.Contains(line, " wiped and verified ") && strings.Contains(line, "pv="+pv.Name+" ") {
				how[i] = inWords(line)
			}
		}
		if how[i] == "" {
			return nil, unmet("the agent on "+pvwatch.Node(pv)+" to say that it wiped "+pv.Name+" and verified it", "nothing of it in its log")
		}
	}
	return how, nil
}

// inWords says how a volume was wiped, from the agent's line about it.
func inWords(line string) string {
	switch m := method.FindStringSubmatch(line); {
	case m == nil:
		return "wiped"
	case m[1] == "contents":
		return "every file removed, and looked for"
	case m[1] == "discard":
		return "every block discarded, and read back as zeroes"
	case m[1] == "zero":
		return "every block overwritten with zeroes, and read back"
	default:
		return "wiped by " + m[1]
	}
}

// agents selects Berth's agents.
const agents = "app.kubernetes.io/name=berth,app.kubernetes.io/component=agent"
