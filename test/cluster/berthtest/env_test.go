//go:build cluster

package berthtest

import (
	"testing"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
)

const agents = "app.kubernetes.io/name=berth,app.kubernetes.io/component=agent"

// env is what one test works with, on the agents that the chart installs.
type env struct{ *stage.Stage }

func begin(t *testing.T) *env {
	t.Helper()
	return &env{stage.Begin(t, stage.Agents{Namespace: cluster.BerthNamespace, Selector: agents})}
}
