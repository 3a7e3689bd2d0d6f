//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// TestClusterCarved is what users do with volumes out of pools: a StatefulSet with
// a filesystem and a raw device, a volume that lives as long as its pod, a group
// that owns a volume, mount options, a claim that one pod alone may have. What is
// given up is back, to the byte.
func TestClusterCarved(t *testing.T) {
	e := beginCarved(t)
	const tuned = "carved-tuned"
	e.class(tuned, func(c *storagev1.StorageClass) { c.MountOptions = []string{"noatime"} })
	e.Must(e.Space.CreateSet(e.Ctx, 2, workload.Pod{
		Name: "db",
		Claims: []workload.Claim{
			{Name: "data", Class: cluster.PoolClass, Bytes: 16 * mib},
			{Name: "raw", Class: cluster.PoolClass, Bytes: 16 * mib, Block: true},
		},
		Script: `if [ -e /data/a ]; then echo read $(cat /data/a) $(head -c 4 /dev/raw); else
if dd if=/dev/zero of=/data/full bs=1M count=24 2>/dev/null; then echo wrote too much; exit 1; fi
rm /data/full; sync -f /data; echo kept >/data/a; printf kept | dd of=/dev/raw conv=notrunc,fsync 2>/dev/null; sync
echo wrote $(blockdev --getsize64 /dev/raw) $(head -c 4096 /dev/raw | tail -c +5 | tr -d '\0' | wc -c)
fi` + stay,
	}))
	e.scratch(tuned)
	for _, pod := range []string{"db-0", "db-1"} {
		if got, want := e.said(pod, "wrote"), fmt.Sprint(16*mib, " 0"); got != want {
			t.Errorf("%s has a device of, and with, %q; want %q", pod, got, want)
		}
	}
	at, err := e.Space.Placement(e.Ctx, "db-0")
	e.Must(err)
	e.Must(e.Space.DeletePod(e.Ctx, "db-0"))
	e.Must(e.Space.WaitBack(e.Ctx, "db-0", at.UID))
	if got := e.said("db-0", "read"); got != "kept kept" {
		t.Errorf("db-0 came back and read %q", got)
	}
}

// scratch runs a pod that is not root's, with a volume that is to be as old as
// the pod, and one with mount options and the mode ReadWriteOncePod, which a
// second pod must not get.
func (e *carvedEnv) scratch(tuned string) {
	e.Helper()
	p := workload.Pod{
		Name: "alone", FSGroup: 2000,
		Claims: []workload.Claim{{Name: "once", Class: tuned, Bytes: 32 * mib, Mode: string(corev1.ReadWriteOncePod)}},
		Script: `echo a >/once/a && echo a >/scratch/a && echo owned $(stat -c %g /once/a /scratch/a)
echo options $(grep ' /once ' /proc/self/mountinfo | cut -d' ' -f6)` + stay,
	}
	e.Must(e.Space.CreateClaims(e.Ctx, p.Claims...))
	object := p.Object()
	class := cluster.PoolClass
	object.Spec.Volumes = append(object.Spec.Volumes, corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{
		Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("32Mi")}},
			}}}}})
	c := &object.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "scratch", MountPath: "/scratch"})
	_, err := e.C.Client().CoreV1().Pods(e.Space.Name).Create(e.Ctx, object, metav1.CreateOptions{})
	e.Must(err)
	if got := e.said("alone", "owned"); got != "2000 2000" {
		e.Errorf("a pod with fsGroup 2000 wrote files of the groups %q", got)
	}
	if got := e.said("alone", "options"); !strings.Contains(got, "noatime") {
		e.Errorf("a volume of a class with noatime is mounted %q", got)
	}
	e.Must(e.Space.CreatePod(e.Ctx, workload.Pod{Name: "second", Claims: p.Claims, Script: "echo began" + stay}))
	e.Until("the second pod to be refused", func(ctx context.Context) error {
		p, err := e.C.Client().CoreV1().Pods(e.Space.Name).Get(ctx, "second", metav1.GetOptions{})
		if err == nil && !strings.Contains(workload.Describe(p), "ReadWriteOncePod") {
			err = errors.New(workload.Describe(p))
		}
		return err
	})
	e.Must(e.Space.DeletePod(e.Ctx, "alone"))
	e.said("second", "began")
	e.Until("the pod's own claim to be gone", func(ctx context.Context) error {
		list, err := e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).List(ctx, metav1.ListOptions{})
		for _, c := range list.Items {
			if c.Name == "alone-scratch" {
				err = fmt.Errorf("%s is %s", c.Name, c.Status.Phase)
			}
		}
		return err
	})
}
