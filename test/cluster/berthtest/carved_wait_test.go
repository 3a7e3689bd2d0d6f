//go:build cluster

package berthtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/stage"
)

// said waits until a pod has said a word, and returns the rest of that line.
func (e *carvedEnv) said(pod, word string) string {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, stage.Patience)
	defer cancel()
	rest, err := e.Space.WaitSaid(ctx, pod, word)
	e.Must(err)
	return rest
}

// claim reads a claim.
func (e *carvedEnv) claim(name string) *corev1.PersistentVolumeClaim {
	e.Helper()
	c, err := e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).Get(e.Ctx, name, metav1.GetOptions{})
	e.Must(err)
	return c
}

// claimed waits until a claim is as it should be.
func (e *carvedEnv) claimed(name, what string, ok func(*corev1.PersistentVolumeClaim) bool) (c *corev1.PersistentVolumeClaim) {
	e.Helper()
	e.Until("claim "+name+" "+what, func(ctx context.Context) (err error) {
		c, err = e.C.Client().CoreV1().PersistentVolumeClaims(e.Space.Name).Get(ctx, name, metav1.GetOptions{})
		if err == nil && !ok(c) {
			err = fmt.Errorf("it asks for %s and is %+v", c.Spec.Resources.Requests.Storage(), c.Status)
		}
		return err
	})
	return c
}

// bound waits until a claim has a volume, and returns the node that it is on.
func (e *carvedEnv) bound(name string) (node string) {
	e.Helper()
	c := e.claimed(name, "to be bound", func(c *corev1.PersistentVolumeClaim) bool { return c.Status.Phase == corev1.ClaimBound })
	return pvwatch.Node(e.pv(c.Spec.VolumeName, "there", func(*corev1.PersistentVolume) bool { return true }))
}

// pv waits until a PersistentVolume is as it should be.
func (e *carvedEnv) pv(name, what string, ok func(*corev1.PersistentVolume) bool) (found *corev1.PersistentVolume) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Ctx, stage.Patience)
	defer cancel()
	e.Must(e.PVs.Wait(ctx, "volume "+name+" to be "+what, func(all []*corev1.PersistentVolume) error {
		i := slices.IndexFunc(all, func(pv *corev1.PersistentVolume) bool { return pv.Name == name })
		if i < 0 {
			return errors.New("it is not there")
		}
		if found = all[i]; !ok(found) {
			return fmt.Errorf("it is %s", found.Status.Phase)
		}
		return nil
	}))
	return found
}
