package supervisor

import (
	"strings"
	"testing"

	"github.com/berth-storage/berth/test/cluster/internal/state"
)

func TestCheckDisk(t *testing.T) {
	for _, test := range []struct {
		disk state.Disk
		want string
	}{
		{state.Disk{Name: "disk-1", FS: "ext4", Bytes: 1 << 29}, ""},
		{state.Disk{Name: "with space.1_x", FS: Raw, Bytes: 1 << 20}, ""},
		{state.Disk{Name: "", FS: "ext4", Bytes: 1 << 29}, "the name"},
		{state.Disk{Name: "../../etc", FS: "ext4", Bytes: 1 << 29}, "the name"},
		{state.Disk{Name: "..", FS: "ext4", Bytes: 1 << 29}, "the name"},
		{state.Disk{Name: "a/b", FS: "ext4", Bytes: 1 << 29}, "the name"},
		{state.Disk{Name: "-f", FS: "ext4", Bytes: 1 << 29}, "the name"},
		{state.Disk{Name: "a", FS: "btrfs", Bytes: 1 << 29, Pool: true}, ""},
		{state.Disk{Name: "a", FS: Raw, Bytes: 1 << 29, Pool: true}, "needs a filesystem"},
		{state.Disk{Name: "a", FS: "zfs", Bytes: 1 << 29}, "none of ext4, xfs, btrfs, none"},
		{state.Disk{Name: "a", FS: "", Bytes: 1 << 29}, "none of"},
		{state.Disk{Name: "a", FS: "xfs", Bytes: 4096}, "under 1 MiB"},
		{state.Disk{Name: "a", FS: "xfs", Bytes: 1<<29 + 1}, "no multiple of 512"},
		{state.Disk{Name: "a", FS: "xfs", Bytes: -1}, "under 1 MiB"},
	} {
		err := CheckDisk(test.disk)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v gives %v, want %q", test.disk, err, test.want)
		}
	}
}

// What makes figures comparable must not change unseen.
func TestControllerFlags(t *testing.T) {
	s := &Supervisor{state: state.New("/dir")}
	fast := strings.Join(s.controllerFlags(), " ")
	if !strings.Contains(fast, "--kube-api-qps 100 --kube-api-burst 200") {
		t.Errorf("the controller manager is not made faster: %s", fast)
	}
	s.state.ControllerRate = 1000
	if faster := strings.Join(s.controllerFlags(), " "); !strings.Contains(faster, "--kube-api-qps 1000 --kube-api-burst 2000") {
		t.Errorf("the controller manager does not have the rate that was asked for: %s", faster)
	}
	s.state.StockControllers = true
	if stock := strings.Join(s.controllerFlags(), " "); strings.Contains(stock, "kube-api-qps") {
		t.Errorf("stock controllers have %s", stock)
	}
}

func TestFreeName(t *testing.T) {
	st := &state.State{Nodes: []state.Node{{Name: "node-1"}, {Name: "node-3", Status: state.Lost}}}
	if name := freeName(st); name != "node-2" {
		t.Errorf("the free name is %s", name)
	}
	st.Nodes = append(st.Nodes, state.Node{Name: "node-2"})
	if name := freeName(st); name != "node-4" {
		t.Errorf("the free name is %s", name)
	}
}
