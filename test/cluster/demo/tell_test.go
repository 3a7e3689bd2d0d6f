package demo

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestTell(t *testing.T) {
	var out strings.Builder
	told := newTeller(&out)
	told.begin("waiting")
	told.begun = time.Now().Add(-1500 * time.Millisecond)
	told.tell("it happened\nand this is more of it")
	told.note("a note")
	want := "   1.5 s  it happened\n          and this is more of it\n          a note\n"
	if out.String() != want {
		t.Errorf("told\n%q, want\n%q", out.String(), want)
	}
}

func TestTellFits(t *testing.T) {
	a, b := strings.Repeat("a", 60), strings.Repeat("b", 29)
	for text, want := range map[string]string{
		a + " " + b:           a + " " + b,
		a + " " + b + "b":     a + "\n          " + b + "b",
		a + a:                 a + a,
		a + " " + b + " " + b: a + " " + b + "\n          " + b,
	} {
		if got := indented(text); got != want {
			t.Errorf("indented\n%q, want\n%q", got, want)
		}
	}
}

// On a terminal the line that says what goes on makes room for the next one.
func TestTellOnATerminal(t *testing.T) {
	var out strings.Builder
	told := newTeller(&out)
	told.terminal = true
	told.begin("waiting")
	told.tell("done")
	told.tell("more")
	if got := out.String(); strings.Count(got, "\x1b[K") != 1 || !strings.HasPrefix(got, "\r\x1b[K   0.0 s  done\n") {
		t.Errorf("told %q", got)
	}
}

func TestFailureSaysWhatWasSeen(t *testing.T) {
	err := error(&Failure{Doing: "waiting for rain", Took: 2 * time.Second, Err: unmet("rain", "sun\nand wind"), Look: []string{"up"}})
	want := "after 2.0 s of waiting for rain:\n  expected: rain\n  seen:     sun\n            and wind\nwhere to look:\n  up"
	if err.Error() != want {
		t.Errorf("error\n%v, want\n%s", err, want)
	}
	if m := (*mismatch)(nil); !errors.As(fmt.Errorf("outer: %w", err), &m) {
		t.Error("the expectation cannot be told from other errors")
	}
}

func TestDiskCheck(t *testing.T) {
	d := disk{node: "n1", path: "/mnt/disks/a", class: fast, bytes: 512 << 20}
	mode := corev1.PersistentVolumeFilesystem
	pv := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
		StorageClassName: fast, VolumeMode: &mode,
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("487Mi")},
	}}
	if err := d.check(pv); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*corev1.PersistentVolume){
		"larger than its disk": func(pv *corev1.PersistentVolume) {
			pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("513Mi")
		},
		"much smaller than its disk": func(pv *corev1.PersistentVolume) {
			pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("100Mi")
		},
		"of another class": func(pv *corev1.PersistentVolume) { pv.Spec.StorageClassName = raw },
		"of another volume mode": func(pv *corev1.PersistentVolume) {
			block := corev1.PersistentVolumeBlock
			pv.Spec.VolumeMode = &block
		},
	} {
		bad := pv.DeepCopy()
		spoil(bad)
		if d.check(bad) == nil {
			t.Errorf("a PersistentVolume %s is taken for right", name)
		}
	}
}
