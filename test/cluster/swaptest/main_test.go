//go:build cluster

package swaptest

import (
	"os"
	"testing"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
)

func TestMain(m *testing.M) {
	os.Exit(clustertest.Main(m, cluster.Options{Disks: []cluster.Disk{}}))
}
