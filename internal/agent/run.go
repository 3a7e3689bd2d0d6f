package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/job"
	"github.com/berth-storage/berth/internal/publish"
	"github.com/berth-storage/berth/internal/volume"
)

// Run looks after the node's volumes until ctx ends. It returns an error only
// for what no waiting could mend: a journal that cannot be used, an address
// that cannot be listened on.
func Run(ctx context.Context, o Options) error {
	counted := newAPIMetrics()
	o.Kube = counted.measure(o.Kube)
	client, err := publish.NewClient(o.Kube, o.Node)
	if err != nil {
		return err
	}
	var j *volume.Journal
	if o.StateDir != "" {
		if j, err = openJournal(o.StateDir); err != nil {
			return err
		}
	}
	var listener net.Listener
	if o.Listen != "" {
		if listener, err = net.Listen("tcp", o.Listen); err != nil {
			return fmt.Errorf("listening for metrics and health: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newAgent(ctx, publish.Node{Name: o.Node}, localMachine{}, client, nil, o.Log)
	if j != nil {
		a.useJournal(j)
	}
	a.standIn = o.StandIn
	counted.register(a.metrics.registry)
	// Many volumes at once take stacks and buffers that are not needed after;
	// the runtime itself would give them back over minutes.
	a.volumes.idle = time.AfterFunc(idleAfter, debug.FreeOSMemory)
	defer a.volumes.idle.Stop()
	a.jobImage = o.JobImage
	a.jobs = sync.OnceValues(func() (jobs, error) {
		if o.Namespace == "" {
			return nil, errors.New("no namespace for Jobs: set --namespace or POD_NAMESPACE")
		}
		return job.NewClient(o.Kube, o.Namespace)
	})
	if listener != nil {
		a.running.Go(func() { a.serve(ctx, listener, o.MetricsPath) })
	}
	if j != nil {
		a.serveCommands(ctx, o.StateDir)
	}
	if a.node, err = waitForNode(ctx, client, o.Log); err != nil {
		cancel()
		a.running.Wait()
		return nil // ctx has ended
	}
	a.running.Go(func() { a.writeEvents(ctx) })
	if j == nil {
		var ok bool
		if o.StateDir, ok = a.awaitStateDir(ctx, o); ok {
			if j, err = openJournal(o.StateDir); err == nil {
				a.useJournal(j)
				a.serveCommands(ctx, o.StateDir)
			}
		}
		if !ok || err != nil {
			cancel()
			a.running.Wait()
			return err
		}
	}
	a.reportDamaged(j.Damaged())
	a.log.Info("agent started", "node", a.node.Name, "config", o.Config.String(), "state", o.StateDir)

	a.running.Go(func() {
		a.followOld(ctx, func(ctx context.Context) { client.WatchOld(ctx, a.node, a.store) })
	})
	a.running.Go(func() {
		<-a.old.done // until then a volume may look as if it had no PV
		client.WatchVolumes(ctx, a.store)
	})
	if o.KubeletDir != "" {
		if err := a.carves(ctx, o, client); err != nil {
			cancel()
			a.running.Wait()
			return err
		}
	}
	a.running.Go(func() { a.keepUntainted(ctx) })
	a.running.Go(func() { a.keepGoneTaint(ctx) })
	a.running.Go(func() { client.WatchClasses(ctx, a.classes) })
	a.watch(ctx, "mounts", disk.WatchMounts, func() {
		a.trigger(false)
		a.pools.check()
	})
	a.watch(ctx, "block devices", disk.WatchBlockDevices, func() {
		a.devicesChanged()
		a.pools.check()
	})
	dirs := newDirWatch(a.log, func() { a.trigger(false) })
	a.watch(ctx, "discovery directories", dirs.run, nil)
	a.watch(ctx, "configuration", o.Config.Watch, a.configChanged)

	a.loop(ctx, func() { a.reload(ctx, o.Config, dirs) })
	a.volumes.stop()
	a.running.Wait()
	return nil
}

func openJournal(stateDir string) (*volume.Journal, error) {
	return volume.OpenJournal(filepath.Join(stateDir, "volumes"))
}

// waitForNode reads the node's object, as soon as the API server gives it.
func waitForNode(ctx context.Context, client *publish.Client, log *slog.Logger) (publish.Node, error) {
	last := ""
	for {
		n, err := client.Node(ctx)
		if err == nil {
			return n, nil
		}
		if err.Error() != last && ctx.Err() == nil {
			log.Warn("waiting for the node's object", "err", err)
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return publish.Node{}, errors.New("stopped while waiting for the node's object")
		case <-time.After(apiRetry / 2):
		}
	}
}
