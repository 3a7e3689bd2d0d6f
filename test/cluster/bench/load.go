package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The load: writes of a ConfigMap a second, which the API server and etcd have
// to carry, and one core that is busy at the usual priority.
const (
	loadWrites = 50
	loadBytes  = 1 << 10
)

// LoadWords says in words what the load is.
var LoadWords = fmt.Sprintf("the load: %d writes of a ConfigMap a second, and one core kept busy", loadWrites)

// startLoad starts the load. stop ends it, with an error if it was not there
// all the time.
func (b *bench) startLoad(ctx context.Context) (stop func() error, err error) {
	spin := exec.Command(b.Spin[0], b.Spin[1:]...)
	spin.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	pipe, err := spin.StdinPipe()                          // it ends with its input
	if err != nil {
		return nil, fmt.Errorf("starting the load: %w", err)
	}
	if err := spin.Start(); err != nil {
		return nil, fmt.Errorf("starting the load: %w", err)
	}
	b.say("%s", LoadWords)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var failed error
	running.Go(func() { failed = b.writeConfigMaps(ctx) })
	return func() error {
		cancel()
		running.Wait()
		pipe.Close()
		if err := spin.Wait(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("keeping a core busy: %w", err))
		}
		return failed
	}, nil
}

// writeConfigMaps writes at a steady rate until ctx ends.
func (b *bench) writeConfigMaps(ctx context.Context) error {
	maps := b.kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench-load"}}
	if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		return fmt.Errorf("writing ConfigMaps: %w", err)
	}
	tick := time.NewTicker(time.Second / loadWrites)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		object.Data = map[string]string{"data": strconv.Itoa(i) + strings.Repeat("x", loadBytes)}
		if _, err := maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil && ctx.Err() == nil {
			return fmt.Errorf("writing ConfigMaps: %w", err)
		}
	}
}
