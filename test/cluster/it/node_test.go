//go:build cluster

package it

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
)

// A node that loses its power and gets it back has its disks and its pods, and
// none of what was in memory.
func TestNodeStopAndStart(t *testing.T) {
	ctx, c := clustertest.Get(t)
	n := c.Node("node-2")
	before := runPod(ctx, t, c, "survivor", n.Name, "exec sleep 1000000")
	for _, path := range []string{"/run/mark", "/var/lib/berth/mark", cluster.DisksDir + "/disk-ext4/mark"} {
		if _, err := n.Exec(ctx, "sh", "-c", "echo mark >"+path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Exec(ctx, "sync"); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Exec(ctx, "true"); err == nil {
		t.Error("a command ran on a node that is stopped")
	}
	if err := n.WaitNotReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := n.Exec(ctx, "sh", "-c", "cat /var/lib/berth/mark "+cluster.DisksDir+"/disk-ext4/mark; ls /run")
	if err != nil || !strings.HasPrefix(out, "mark\nmark\n") || strings.Contains(out[10:], "mark") {
		t.Errorf("after the restart there is %q, %v", out, err)
	}
	clustertest.Eventually(t, podPatience, func() error {
		pod, err := c.Client().CoreV1().Pods("default").Get(ctx, "survivor", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if restarts(pod) <= restarts(before) {
			return fmt.Errorf("the pod was not started again")
		}
		return podReady(pod)
	})
	for _, path := range []string{"/var/lib/berth/mark", cluster.DisksDir + "/disk-ext4/mark"} {
		if _, err := n.Exec(ctx, "rm", path); err != nil {
			t.Error(err)
		}
	}
}

// A node added under the name of a lost one is a new machine with the disks
// that were kept.
func TestNodeLoseAndAdd(t *testing.T) {
	ctx, c := clustertest.Get(t)
	disk := cluster.Disk{Name: "kept", FS: "ext4", Bytes: 64 << 20}
	n, err := c.AddNode(ctx, "", disk)
	if err != nil {
		t.Fatal(err)
	}
	path := cluster.DisksDir + "/kept/mark"
	if _, err := n.Exec(ctx, "sh", "-c", "echo mark >"+path+"; echo mark >/var/lib/berth/mark; sync"); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		if err := n.Lose(ctx, keep); err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err == nil {
			t.Fatal("a lost node was started")
		}
		if n, err = c.AddNode(ctx, n.Name, disk); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Exec(ctx, "test", "-e", "/var/lib/berth/mark"); err == nil {
			t.Error("the new machine has the lost one's state")
		}
		_, err := n.Exec(ctx, "test", "-e", path)
		if kept := err == nil; kept != keep {
			t.Errorf("with keepDisks %v, what was on the disk is there: %v", keep, kept)
		}
	}
	if err := n.Lose(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Client().CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A component that ends is started again, and the status says so.
func TestComponentIsRestarted(t *testing.T) {
	ctx, c := clustertest.Get(t)
	if _, err := c.Node("node-1").Exec(ctx, "pkill", "--exact", "kube-proxy"); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, podPatience, func() error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, x := range st.Nodes[0].Components {
			if x.Name == "kube-proxy" && x.Restarts > 0 && x.PID != 0 {
				return nil
			}
		}
		return fmt.Errorf("kube-proxy on node-1: %+v", st.Nodes[0].Components)
	})
}
