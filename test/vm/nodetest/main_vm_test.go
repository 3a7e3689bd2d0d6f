//go:build vm

package nodetest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// outside is what all tests share.
var outside struct {
	dir    string // programs and files for the machines
	kube   *rest.Config
	server string // the API server's address
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "berth-nodetest-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	control := filepath.Join(dir, "control")
	down := func() {
		if err := program("../../cluster", "go", "run", "./cmd/cluster", "down", "--dir", control); err != nil {
			code = fail(err)
		}
	}
	defer down()
	if err := prepare(dir, control); err != nil {
		return fail(err)
	}
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-over:
		case <-ctx.Done(): // a test that hangs must not keep the control plane
			down()
			_ = os.RemoveAll(dir)
			os.Exit(130)
		}
	}()
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "nodetest:", err)
	return 1
}

// prepare starts the control plane, which is the cluster's module's to do, and
// builds what runs in the machines.
func prepare(dir, control string) error {
	if err := program("../../cluster", "go", "run", "./cmd/cluster", "up", "--nodes", "0", "--no-berth", "--dir", control); err != nil {
		return err
	}
	for _, pkg := range []string{"./cmd/berth", "./test/vm/nodetest/tenant"} {
		if err := program("../../..", "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/", pkg); err != nil {
			return err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(control, "kubeconfig"))
	if err != nil {
		return err
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	outside.dir, outside.kube, outside.server = dir, config, server.Host
	text, err := os.ReadFile(filepath.Join(control, "kubeconfig"))
	if err != nil {
		return err
	}
	inside := strings.Replace(string(text), server.Host, machineServer, 1)
	return os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(inside), 0o600)
}

func program(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	// An interrupt is for this process, which then has the control plane ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
