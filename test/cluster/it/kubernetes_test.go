//go:build cluster

package it

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/clustertest"
)

// podPatience is how long a pod may take to be ready on a busy machine.
const podPatience = 60 * time.Second

func TestTwoNodesReady(t *testing.T) {
	ctx, c := clustertest.Get(t)
	nodes, err := c.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) < 2 {
		t.Fatalf("%d nodes, want 2 or more", len(nodes))
	}
	for _, n := range nodes {
		if err := n.WaitReady(ctx); err != nil {
			t.Error(err)
		}
		object, err := c.Client().CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if v := object.Status.NodeInfo.KubeletVersion; !strings.HasPrefix(v, "v1.37.") {
			t.Errorf("node %s runs version %q, want v1.37", n.Name, v)
		}
	}
}

func TestLogsAndExec(t *testing.T) {
	ctx, c := clustertest.Get(t)
	runPod(ctx, t, c, "talker", "node-1", "echo hello from the pod; exec sleep 1000000")
	if out, err := c.Kubectl(ctx, "logs", "talker"); err != nil || out != "hello from the pod\n" {
		t.Errorf("logs: %q, %v", out, err)
	}
	if out, err := c.Kubectl(ctx, "exec", "talker", "--", "hostname"); err != nil || out != "talker\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
}

const webScript = "echo content >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"

func TestPortForward(t *testing.T) {
	ctx, c := clustertest.Get(t)
	runPod(ctx, t, c, "web", "node-2", webScript)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Program("kubectl"), "port-forward", "pod/web", ":8080")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	// "Forwarding from 127.0.0.1:40001 -> 8080" says that it listens.
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("port-forward says %q", line)
	}
	resp, err := http.Get("http://127.0.0.1:" + m[1] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "content\n" {
		t.Errorf("the pod's page through port-forward: %q, %v", body, err)
	}
}

// The API server answers plain HTTP on its port with this sentence, so a pod
// that reads it has reached the API server through the service's address.
func TestServiceAddress(t *testing.T) {
	ctx, c := clustertest.Get(t)
	for _, node := range []string{"node-1", "node-2"} {
		name := "client-" + node
		runPod(ctx, t, c, name, node, "exec sleep 1000000")
		out, err := c.Kubectl(ctx, "exec", name, "--", "sh", "-c",
			`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT"`)
		if err != nil || !strings.Contains(out, "HTTP request to an HTTPS server") {
			t.Errorf("on %s, the service address of the API server says %q, %v", node, out, err)
		}
	}
}

func TestPodsReachEachOtherAcrossNodes(t *testing.T) {
	ctx, c := clustertest.Get(t)
	web := runPod(ctx, t, c, "far-web", "node-2", webScript)
	runPod(ctx, t, c, "near", "node-1", "exec sleep 1000000")
	out, err := c.Kubectl(ctx, "exec", "near", "--", "sh", "-c",
		fmt.Sprintf(`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 %s 8080`, web.Status.PodIP))
	if err != nil || !strings.HasSuffix(out, "content\n") {
		t.Errorf("a page from the other node: %q, %v", out, err)
	}
}

func TestDisks(t *testing.T) {
	ctx, c := clustertest.Get(t)
	n := c.Node("node-1")
	for _, fs := range []string{"ext4", "xfs", "btrfs", "none"} {
		t.Run(fs, func(t *testing.T) {
			d := cluster.Disk{Name: "extra " + fs, FS: fs, Bytes: 320 << 20}
			device, at, err := n.AddDisk(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			if device == "" || time.Since(at) > time.Minute || at.After(time.Now()) {
				t.Errorf("AddDisk says %q, %v", device, at)
			}
			if fs == "none" {
				out, err := n.Exec(ctx, "readlink", cluster.BlocksDir+"/"+d.Name)
				if err != nil || out != device+"\n" {
					t.Errorf("the link leads to %q, want %q: %v", out, device, err)
				}
			} else {
				path := cluster.DisksDir + "/" + d.Name
				if out, err := n.Exec(ctx, "findmnt", "-n", "-o", "FSTYPE", path); err != nil || out != fs+"\n" {
					t.Errorf("mounted is %q: %v", out, err)
				}
				if _, err := n.Exec(ctx, "sh", "-c", "echo kept >'"+path+"/mark'"); err != nil {
					t.Fatal(err)
				}
				if err := n.RemoveDisk(ctx, d.Name, cluster.KeepData); err != nil {
					t.Fatal(err)
				}
				if _, _, err := n.AddDisk(ctx, d); err != nil {
					t.Fatal(err)
				}
				if out, err := n.Exec(ctx, "cat", path+"/mark"); err != nil || out != "kept\n" {
					t.Errorf("on the disk that came back is %q: %v", out, err)
				}
			}
			if _, _, err := n.AddDisk(ctx, d); err == nil {
				t.Error("a second disk of the same name was added")
			}
			if err := n.RemoveDisk(ctx, d.Name); err != nil {
				t.Fatal(err)
			}
			if _, err := n.Exec(ctx, "ls", cluster.DisksDir+"/"+d.Name); err == nil {
				t.Error("the mount point of a removed disk is still there")
			}
		})
	}
}
