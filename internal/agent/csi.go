package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/publish"
)

const csiSubject = "csi"

// carves begins to look after volumes out of pools: their claims, the room that
// the scheduler knows of, and what the kubelet asks for.
func (a *Agent) carves(ctx context.Context, o Options, client *publish.Client) error {
	if o.Namespace == "" {
		return errors.New("no namespace for the objects that say what room there is: set --namespace or POD_NAMESPACE")
	}
	a.carved.told = client.NewCapacities(o.Namespace, a.node)
	server := &csi.Server{Driver: api.Driver, Version: o.Version, Node: a.node.Name, Pools: a.pools, Keeper: keeper{a}, Log: a.log,
		Registered: func(err error) {
			if err == nil {
				a.reports.clear(csiSubject)
				return
			}
			a.reports.set(csiSubject, api.ReasonNotRegistered, fmt.Sprintf("the kubelet does not take the CSI driver %s, so that no pod gets a volume out of a pool: %v", api.Driver, err))
		}}
	a.running.Go(func() { client.WatchClaims(ctx, a.carved.claims) })
	a.running.Go(func() { a.keepRoom(ctx) })
	a.watch(ctx, "CSI requests", func(ctx context.Context, _ func()) error { return server.Serve(ctx, o.KubeletDir) }, nil)
	return nil
}
