// Command gen renders the Helm chart into deploy/berth.yaml, the one file for
// kubectl apply. With -check it writes nothing, and fails when the file is not
// what the chart renders to.
//
// It renders with the chart's default values only. Who wants others uses Helm.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-storage/berth/deploy/internal/helm"
)

// file is what is generated, seen from the root of the work tree.
const file = "deploy/berth.yaml"

// namespace is where the rendered objects live; the manual says so too.
const namespace = "berth-system"

const head = `# Berth, with the default values of its Helm chart: kubectl apply -f berth.yaml
# Made by "go run ./deploy/gen" from deploy/helm/berth. Edit the chart, not this.
apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
  labels:
    # The agent opens the node's disks, which only a privileged pod may.
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
`

func main() {
	check := flag.Bool("check", false, "write nothing; fail when "+file+" is out of date")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool) error {
	root, err := helm.Root(".")
	if err != nil {
		return err
	}
	want, err := render(ctx, root)
	if err != nil {
		return err
	}
	path := filepath.Join(root, file)
	if !check {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			return fmt.Errorf("writing the manifest: %w", err)
		}
		return nil
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("checking the manifest: %w", err)
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("checking %s: it is not what the chart renders to: run go run ./deploy/gen", file)
	}
	return nil
}

// render returns the namespace and what the chart makes of its default values.
func render(ctx context.Context, root string) ([]byte, error) {
	command, err := helm.Find(ctx, root, func(line string) { fmt.Fprintln(os.Stderr, "gen:", line) })
	if err != nil {
		return nil, err
	}
	out, err := helm.Run(ctx, command, "template", "berth", filepath.Join(root, "deploy/helm/berth"), "--namespace", namespace)
	if err != nil {
		return nil, fmt.Errorf("rendering the chart: %w", err)
	}
	return append([]byte(head), withoutHelm(out)...), nil
}

// withoutHelm drops the lines that are true only of what Helm itself installs.
func withoutHelm(manifest []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(manifest) {
		text := bytes.TrimSpace(line)
		if bytes.HasPrefix(text, []byte("# Source: ")) ||
			bytes.HasPrefix(text, []byte("helm.sh/chart: ")) ||
			bytes.Equal(text, []byte("app.kubernetes.io/managed-by: Helm")) {
			continue
		}
		kept = append(kept, line...)
	}
	return kept
}
