package pvwatch

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

func volume(name, version, path, node string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
			}}}},
		},
	}
}

// What is deleted while the watch is broken off is noticed at its return.
func TestWatchAcrossABreak(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client := fake.NewClientset(volume("a", "1", "/d/a", "n1"), volume("b", "2", "/d/b", "n1"))
	watches := make(chan *watch.FakeWatcher, 10)
	client.PrependWatchReactor("persistentvolumes", func(kubetesting.Action) (bool, watch.Interface, error) {
		w := watch.NewFake()
		watches <- w
		return true, w, nil
	})
	begun := time.Now()
	r, err := Watch(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	first := <-watches
	first.Add(volume("c", "3", "/d/c", "n2"))
	count := func(n int) func([]*corev1.PersistentVolume) error {
		return func(all []*corev1.PersistentVolume) error {
			if len(all) != n {
				return errors.New("not yet")
			}
			return nil
		}
	}
	if err := r.Wait(ctx, "three volumes", count(3)); err != nil {
		t.Fatal(err)
	}
	if pv := Find(r.All(), "n2", "/d/c"); pv == nil || pv.Name != "c" {
		t.Errorf("found %v for n2:/d/c", pv)
	}
	if pv := Find(r.All(), "n1", "/d/c"); pv != nil {
		t.Errorf("found %s for a path of another node", pv.Name)
	}
	if err := client.CoreV1().PersistentVolumes().Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	first.Stop() // the fake client never heard of c, so c is gone too
	if err := r.Wait(ctx, "one volume", count(1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "c"} {
		if _, ok := r.First(begun, func(s Seen) bool { return s.Gone && s.PV.Name == name }); !ok {
			t.Errorf("the end of %s was not recorded", name)
		}
	}
	if _, ok := r.First(time.Now(), func(Seen) bool { return true }); ok {
		t.Error("there are changes since now")
	}
}

func TestWaitSaysWhatWasMissing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := Watch(ctx, fake.NewClientset())
	if err != nil {
		t.Fatal(err)
	}
	cancel(errors.New("enough"))
	err = r.Wait(ctx, "a miracle", func([]*corev1.PersistentVolume) error { return errors.New("none so far") })
	if want := "waiting for a miracle: enough: none so far"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
