// Package helm finds the Helm command, and builds it from its Go module where
// the machine has none, so that the chart can be rendered and tested without
// anything to install first.
//
// It does not talk to a cluster, and does not use Helm as a library: that would
// bring Helm's dependencies into Berth's go.mod. They stay in the module
// test/cluster/parts/helm, which says the version.
package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// module is where, beneath the root of the work tree, Helm's go.mod lies.
const module = "test/cluster/parts/helm"

// major is what a found command's version must begin with. Another one may
// render, quote or check a chart differently.
const major = "v4."

// waitDelay is how long a command's output is waited for after it was killed.
const waitDelay = 5 * time.Second

// Root returns the root of the work tree that dir lies in: the nearest
// directory at or above it that holds Helm's module.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the work tree: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		_, err := os.Stat(filepath.Join(at, module, "go.mod"))
		switch {
		case err == nil:
			return at, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("finding the work tree: %w", err)
		case at == filepath.Dir(at):
			return "", fmt.Errorf("finding the work tree: no %s at or above %s", module, dir)
		}
	}
}

// Find returns the path of a Helm command of the wanted major version: $HELM,
// the one that the cluster in root was built with, the one in PATH, or else one
// built from Helm's module and kept in the user's cache. A $HELM that does not
// run, or is of another version, is an error; elsewhere the next one is tried.
// With a cold cache it takes two or three minutes, and says so on progress.
func Find(ctx context.Context, root string, progress func(string)) (string, error) {
	if path := os.Getenv("HELM"); path != "" {
		path, err := exec.LookPath(path)
		if err == nil {
			err = fits(ctx, path)
		}
		if err != nil {
			return "", fmt.Errorf("using $HELM: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{filepath.Join(root, ".cluster/bin/helm"), "helm"} {
		path, err := exec.LookPath(name)
		if err == nil && fits(ctx, path) == nil {
			return path, nil
		}
	}
	return build(ctx, root, progress)
}

// fits runs the command and compares its version.
func fits(ctx context.Context, path string) error {
	out, err := Run(ctx, path, "version", "--template", "{{.Version}}")
	if err != nil {
		return err
	}
	// A Helm built as build does knows its version as v4.3 only.
	if version := strings.TrimSpace(string(out)); !strings.HasPrefix(version, major) {
		return fmt.Errorf("checking %s: version %q, want %s…", path, version, major)
	}
	return nil
}

// build returns the cached command for Helm's go.mod, made first if need be.
func build(ctx context.Context, root string, progress func(string)) (string, error) {
	dir := filepath.Join(root, module)
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("building helm: %w", err)
		}
		sum.Write(data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	cache = filepath.Join(cache, "berth", fmt.Sprintf("helm-%x", sum.Sum(nil)[:8]))
	path := filepath.Join(cache, "helm")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}

	progress("building helm from its Go module, once; this takes two or three minutes")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	// Two builds at a time are waste, not harm: each has a folder of its own,
	// and the rename puts a whole file in place.
	tmp, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	defer os.RemoveAll(tmp)
	built := filepath.Join(tmp, "helm")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", built, "helm.sh/helm/v4/cmd/helm")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if _, err := output(cmd); err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	if err := os.Rename(built, path); err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	return path, nil
}

// Run runs the Helm command at path and returns its output. The error has what
// it wrote to its standard error.
func Run(ctx context.Context, path string, args ...string) ([]byte, error) {
	return output(exec.CommandContext(ctx, path, args...))
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = waitDelay
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("running %s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
