// Package workload makes the claims and pods that the demo and the cluster
// tests use volumes with, waits for what should become of them, and takes them
// away. It knows Kubernetes' objects and nothing of Berth: what becomes of the
// volumes is package pvwatch's to see.
package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Space is a namespace for one story or test.
type Space struct {
	Client kubernetes.Interface
	Name   string
}

// Open makes the namespace, unless it is there, and waits until pods can be
// made in it.
func Open(ctx context.Context, client kubernetes.Interface, name string) (*Space, error) {
	s := &Space{Client: client, Name: name}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("making namespace %s: %w", name, err)
	}
	return s, Until(ctx, "the service account of namespace "+name, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// Empty deletes every StatefulSet, pod and claim in the namespace and waits
// until they are gone.
func (s *Space) Empty(ctx context.Context) error {
	if err := s.Delete(ctx); err != nil {
		return err
	}
	return s.WaitEmpty(ctx)
}

// Delete asks for every StatefulSet, pod and claim of the namespace to go away
// and does not wait for it.
func (s *Space) Delete(ctx context.Context) error {
	all, now := metav1.ListOptions{}, metav1.DeleteOptions{}
	// In this order, or the StatefulSet would make its pods anew.
	err := s.Client.AppsV1().StatefulSets(s.Name).DeleteCollection(ctx, now, all)
	if err == nil {
		err = s.Client.CoreV1().Pods(s.Name).DeleteCollection(ctx, now, all)
	}
	if err == nil {
		err = s.Client.CoreV1().PersistentVolumeClaims(s.Name).DeleteCollection(ctx, now, all)
	}
	if err != nil {
		return fmt.Errorf("deleting what is in namespace %s: %w", s.Name, err)
	}
	return nil
}

// WaitEmpty waits until no StatefulSet, pod or claim is left.
func (s *Space) WaitEmpty(ctx context.Context) error {
	return Until(ctx, "namespace "+s.Name+" to be empty", func(ctx context.Context) error {
		var left []string
		sets, err := s.Client.AppsV1().StatefulSets(s.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range sets.Items {
			left = append(left, "StatefulSet "+o.Name)
		}
		pods, err := s.Client.CoreV1().Pods(s.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range pods.Items {
			left = append(left, "pod "+o.Name)
		}
		claims, err := s.Client.CoreV1().PersistentVolumeClaims(s.Name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range claims.Items {
			left = append(left, "claim "+o.Name)
		}
		if len(left) > 0 {
			return fmt.Errorf("there are still %s", strings.Join(left, ", "))
		}
		return nil
	})
}

// Close empties the namespace and deletes it.
func (s *Space) Close(ctx context.Context) error {
	err := s.Empty(ctx)
	err2 := s.Client.CoreV1().Namespaces().Delete(ctx, s.Name, metav1.DeleteOptions{})
	if err2 != nil && !apierrors.IsNotFound(err2) {
		err = errors.Join(err, fmt.Errorf("deleting namespace %s: %w", s.Name, err2))
	}
	return err
}

// Until asks ten times a second until done returns nil. When the context ends
// first, the error says what was waited for and what done said last.
func Until(ctx context.Context, what string, done func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // not the context's own end in place of the reason
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
